"""The command `dropzone`: a client of the public API, and two doors to the tools of who runs it."""

from dropzone.command.app import main

__all__ = ["main"]
