"""The limits of one address, of one submitter and of the whole process. docs/security.md lists the limits."""
