# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The send queue of a socket: whether a client takes what it is sent, which the kernel alone knows; and its end.

What a socket has taken, up to some megabytes, may lie in the kernel for minutes: without a look there, a slow reader
would look like one that has stopped.
"""

import asyncio
import fcntl
import sys
import termios


def unacknowledged(transport: asyncio.Transport) -> int:
    """Bytes written that the client has not acknowledged: in the transport's buffer and in the kernel's."""
    return transport.get_write_buffer_size() + _in_kernel(transport)


def end_writing(transport: asyncio.Transport) -> bool:
    """Say that nothing more comes, and read on; False where that could not be said: then the connection is cut.

    A client that is gone already is no error, and asyncio lets the system's complaint through.
    """
    try:
        transport.write_eof()
    except OSError:
        transport.abort()
        return False
    return True


def _in_kernel(transport: asyncio.Transport) -> int:
    """Bytes that the kernel has taken and the client has not acknowledged yet; 0 where the kernel does not say."""
    sock = transport.get_extra_info("socket")
    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError, AttributeError):
        return 0
