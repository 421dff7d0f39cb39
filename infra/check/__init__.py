"""Checks of the files that deploy Dropzone. They need no cloud account."""
