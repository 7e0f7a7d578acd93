"""Requests to URLs that somebody else named: webhooks, key sets, link previews, push endpoints, pictures."""
