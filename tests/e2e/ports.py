"""Ports for servers that are told where to listen.

They are below those that the system gives to whoever asks for any: such a port, found free and left for a server to take, is given
to somebody's connection meanwhile, once in a few thousand times.
"""

from __future__ import annotations

import errno
import random
import socket

FIRST = 20_000
# Linux gives ports from here on unless it is told otherwise, other systems higher ones.
_ANYBODYS = 32_768


def _end() -> int:
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as told:
            return min(_ANYBODYS, int(told.read().split()[0]))
    except OSError:
        return _ANYBODYS


# In an order of its own for each process: those of two that run at once hardly ever meet.
_left = list(range(FIRST, max(_end(), FIRST + 1_000)))
random.shuffle(_left)


def free_port() -> int:
    """A number that nobody has in TCP or UDP, IPv4 or IPv6, and that was not given before."""
    while _left:
        port = _left.pop()
        if all(_is_free(family, kind, port) for family in (socket.AF_INET, socket.AF_INET6)
               for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
            return port
    raise OSError(errno.EADDRINUSE, "no port is free")


def _is_free(family: int, kind: int, port: int) -> bool:
    try:
        with socket.socket(family, kind) as probe:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Everywhere: also free at each of this machine's addresses.
            probe.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    except OSError as error:
        # A machine without IPv6 has nothing there that could be taken.
        return error.errno != errno.EADDRINUSE
    return True
