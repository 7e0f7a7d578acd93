"""The contract, declared once: what clients send and receive, as typed structs.

Validation, OpenAPI (`rest.py`) and AsyncAPI (`socket.py`) all come from the structs here. Requests refuse unknown
fields; answers and events may gain fields, which clients ignore.
"""
