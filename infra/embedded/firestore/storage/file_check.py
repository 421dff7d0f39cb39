"""Checks of the data file before SQLite opens it."""


class UnusableFile(Exception):
    """The data file cannot be used. The message names the file, what is wrong, and what to do."""
