"""Supervisor, embedded Firestore and event delivery for one machine.

Only `stack.toml` describes the processes of Dropzone. The code knows only the variables `DROPZONE_FIRESTORE_...`.
"""
