"""Listening sockets. A process opens its own, or inherits those of its supervisor. Several processes can share them."""

import socket


def bind(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Return a socket for each address of `host`. A host name may have several, and `::` means all of IPv6 and IPv4.

    A single socket for IPv6 and IPv4 would give the addresses of IPv4 clients the form `::ffff:192.0.2.1`, which is not
    in a network such as `192.0.2.0/24`. Raises `OSError`.
    """
    hosts = (host, "0.0.0.0") if host == "::" else (host,)  # noqa: S104 - the setting asks for all addresses
    resolved = [each for one in hosts for each in socket.getaddrinfo(one, port, type=socket.SOCK_STREAM)]
    addresses = dict.fromkeys((family, address) for family, _, _, _, address in resolved)
    return [_bound(family, address, reuse_port) for family, address in addresses]


def bind_setting(host: str, port: int, variables: str) -> list[socket.socket]:
    """Return the sockets of `bind`. Raises `ValueError` with the variables of host and port if one cannot be bound."""
    try:
        return bind(host, port)
    except (OSError, UnicodeError) as error:
        # Python raises `UnicodeError` for a name with an empty label or a label over 63 characters.
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise ValueError(f"cannot listen on {host}, port {port} ({variables}): {reason}") from None


def parse_sockets(descriptors: str) -> list[socket.socket]:
    """Return the sockets of a comma-separated list of file descriptors."""
    return [socket.socket(fileno=int(descriptor)) for descriptor in descriptors.split(",")]


def _bound(family: int, address: tuple[object, ...], reuse_port: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore connections of a stopped server
    if reuse_port:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    bound.bind(address)
    return bound
