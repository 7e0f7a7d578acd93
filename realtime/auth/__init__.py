"""Who somebody is: passwords, access tokens, sessions."""
