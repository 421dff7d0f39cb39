"""Logs, metrics and traces of all processes.

This package does not depend on samples. docs/architecture.md lists the packages that import it.
"""
