"""Capabilities that are no part of the package: what it takes to add one."""
