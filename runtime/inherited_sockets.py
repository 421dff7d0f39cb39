"""Listening sockets that a process inherits from its supervisor. Several processes can share them."""

import socket


def parse_sockets(descriptors: str) -> list[socket.socket]:
    """Return the sockets of a comma-separated list of file descriptors."""
    return [socket.socket(fileno=int(descriptor)) for descriptor in descriptors.split(",")]
