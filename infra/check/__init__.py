"""Checks of the files that deploy Dropzone: what can be proven about them without a cloud account."""
