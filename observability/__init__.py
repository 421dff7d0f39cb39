"""Logs, metrics and traces of all processes. Every package except the client may import it: it knows no samples."""
