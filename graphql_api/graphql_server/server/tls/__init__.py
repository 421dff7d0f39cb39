"""Connections with TLS. They take turns to decrypt what they have received."""
