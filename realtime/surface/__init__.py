"""What clients meet: requests on the socket, REST, generated documents."""
