"""The command `dropzone`: a client of the public API. `dropzone keys` and `dropzone up` start operator commands."""

from dropzone.command.app import main

__all__ = ["main"]
