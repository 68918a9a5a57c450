"""What Python code does before it is connected can be watched, and made to fail, for as long as a block lasts."""

import errno
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from exporter_core.conformance.observe.connecting import ADDRESS, NAME, lookups_of_name, no_network, watched_connects


@pytest.fixture
def listening() -> Iterator[tuple[str, int]]:
    """Yield the address of a socket that listens."""
    with closing(socket.create_server((ADDRESS, 0))) as server:
        yield server.getsockname()


def test_a_name_is_unknown_once_look_ups_are_told_to_fail(listening: tuple[str, int]) -> None:
    with lookups_of_name() as lookups:
        assert socket.getaddrinfo(NAME, listening[1])
        lookups.hang()
        with pytest.raises(socket.gaierror):  # at once: an address is asked for, and nothing is looked up
            socket.getaddrinfo(NAME, listening[1], flags=socket.AI_NUMERICHOST)
        lookups.release()
        lookups.fail()
        with pytest.raises(socket.gaierror):
            socket.create_connection((NAME, listening[1]))
        socket.create_connection(listening).close()
    assert lookups.count == 2
    socket.create_connection((NAME, listening[1])).close()


def test_no_network_leads_to_a_sink_in_the_block(listening: tuple[str, int]) -> None:
    with no_network() as refused:
        with socket.socket() as one, pytest.raises(OSError, match="unreachable"):
            one.connect(listening)
        with socket.socket() as one:
            assert one.connect_ex(listening) == errno.ENETUNREACH
    assert refused == [listening, listening]
    with socket.socket() as one:
        assert one.connect_ex(listening) == 0
    assert "connect" not in vars(socket.socket)


def test_attempts_to_connect_are_listed_in_the_block(listening: tuple[str, int]) -> None:
    with watched_connects() as times:
        for _ in range(3):
            socket.create_connection(listening).close()
    socket.create_connection(listening).close()
    assert len(times) == 3
    assert times == sorted(times)
