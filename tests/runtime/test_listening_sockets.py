"""The sockets of a host on which a process listens."""

import contextlib
import socket

import pytest

from runtime.listening_sockets import bind, bind_setting
from tests.ports import free_port


def has_ipv6() -> bool:
    """Return whether this machine has the address `::1`. Some containers have none."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="needs a loopback address of IPv6")
def test_all_ipv6_addresses_include_those_of_ipv4() -> None:
    """The supervisor listened on IPv6 only. Addresses of IPv4 clients have the form of IPv4, as in settings."""
    port = free_port()
    bound = bind("::", port)
    with contextlib.ExitStack() as opened:
        clients = {}
        for each in bound:
            opened.enter_context(each).listen()
        for host in ("127.0.0.1", "::1"):
            opened.enter_context(socket.create_connection((host, port)))
        for each in bound:
            connection, address = each.accept()
            opened.enter_context(connection)
            clients[each.family] = address[0]

    assert clients == {socket.AF_INET6: "::1", socket.AF_INET: "127.0.0.1"}


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example"])
def test_an_impossible_host_name_is_named_with_its_setting(host: str) -> None:
    """Python reports only that a codec failed."""
    with pytest.raises(ValueError, match=rf"^cannot listen on {host}, port 1 \(HOST, PORT\): not a host name$"):
        bind_setting(host, 1, "HOST, PORT")
