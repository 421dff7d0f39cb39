"""Limits on what one address, one submitter and the whole process may use at a time. docs/security.md lists them."""
