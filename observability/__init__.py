"""Logs, metrics and traces of all processes.

This package does not depend on samples. Every package except the client may import it.
"""
