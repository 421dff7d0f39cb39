"""The command `dropzone`: a client of the public API, and shortcuts to two operator commands of a checkout."""

from dropzone.command.app import main

__all__ = ["main"]
