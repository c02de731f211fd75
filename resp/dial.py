# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""From an endpoint to an open socket: names, addresses, TLS, options.

Knows the deadline everywhere, also where the system does not: `getaddrinfo` runs in a thread of its own, because it
would wait for a name server for as long as it likes. Surprising: a unix socket is connected in blocking mode, since in
non-blocking mode a full backlog is an error at once instead of something to wait for.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import sys
import threading
from time import monotonic
from typing import Any

from resp.endpoint import Endpoint
from resp.errors import ConnectionLost


def dial(endpoint: Endpoint, deadline: float) -> socket.socket:
    """A connected socket, after the TLS handshake if there is to be one; blocking where the kernel keeps the time.

    Raises TimeoutError, OSError, ValueError and ConnectionLost, for `Connection.connect` to translate.
    """
    if endpoint.unix_socket_path is not None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if kernel_limits(sock):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval(left(deadline)))
            else:
                sock.settimeout(left(deadline))
            sock.connect(endpoint.unix_socket_path)
            return _secured(sock, endpoint, deadline)
        except BaseException:
            sock.close()
            raise
    found = addresses(endpoint.host, endpoint.port, deadline)
    failure: OSError = OSError("no address")
    for tried, (family, kind, proto, _, address) in enumerate(found):
        try:
            sock = socket.socket(family, kind, proto)
        except OSError as error:
            failure = error
            continue
        try:
            # Addresses that may still be needed get their share of the time.
            sock.settimeout(left(deadline) / (len(found) - tried))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
                if hasattr(socket, option):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
            return _secured(sock, endpoint, deadline)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    try:
        raise failure
    finally:
        del failure  # no cycle of exception and frame


def _secured(sock: socket.socket, endpoint: Endpoint, deadline: float) -> socket.socket:
    if endpoint.tls is not None:
        sock.settimeout(left(deadline))
        return endpoint.tls.wrap_socket(sock, server_hostname=endpoint.host)
    if kernel_limits(sock):
        sock.settimeout(None)
    return sock


def kernel_limits(sock: socket.socket) -> bool:
    """True if SO_RCVTIMEO and SO_SNDTIMEO strike on this very socket.

    Not on TLS, and not on a patched socket (gevent, eventlet), which never blocks in the kernel; the patch may come
    at any time, so that the socket's own class is asked.
    """
    known = sys.platform in ("linux", "darwin") and hasattr(socket, "SO_RCVTIMEO")
    return known and type(sock).__module__ == "socket"


def addresses(host: str, port: int, deadline: float) -> list[Any]:
    """What `getaddrinfo` says, in a thread of its own if it has to ask: it knows no deadline.

    Whoever asks for the same name meanwhile waits for the same answer, so that a name server that hangs costs one
    thread and not one for each attempt.
    """
    with contextlib.suppress(OSError, UnicodeError):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    with _lookups_lock:
        lookup = _lookups.get((host, port))
        if lookup is None:
            lookup = _Lookup()
            try:
                threading.Thread(target=_ask, args=(host, port, lookup), name="resp-resolve", daemon=True).start()
            except RuntimeError:
                raise ConnectionLost("no thread for resolving the host name") from None
            # Only now, with a thread behind it: an exception that strikes in between must not leave a question that
            # nobody asks. The thread takes it out again, for which it needs the lock.
            _lookups[host, port] = lookup
    if not lookup.done.wait(left(deadline)):
        raise TimeoutError
    answer = lookup.answer
    if isinstance(answer, str):
        raise ConnectionLost(answer)
    return answer


class _Lookup:
    """One question to the name servers that is under way, and its answer: addresses, or why there are none."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.answer: list[Any] | str = "no answer"


def _ask(host: str, port: int, lookup: _Lookup) -> None:
    try:
        lookup.answer = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        lookup.answer = reason(error)
    except UnicodeError:
        lookup.answer = "not a host name"
    finally:
        with _lookups_lock:
            if _lookups.get((host, port)) is lookup:
                del _lookups[host, port]
        lookup.done.set()


_lookups: dict[tuple[str, int], _Lookup] = {}
_lookups_lock = threading.Lock()


def _forget_lookups() -> None:
    """In the child of a fork, where the threads that ask are not."""
    global _lookups_lock
    _lookups_lock = threading.Lock()
    _lookups.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lookups)


def left(deadline: float) -> float:
    """Seconds until the deadline; raises TimeoutError if there are none."""
    remaining = deadline - monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


def timeval(seconds: float | None) -> bytes:
    """A time as SO_RCVTIMEO and SO_SNDTIMEO want it; None for no limit."""
    if seconds is None:
        return struct.pack("ll", 0, 0)
    # Rounded up: zero would mean no limit at all.
    micros = max(1000, int(seconds * 1e6) + 1)
    return struct.pack("ll", micros // 1_000_000, micros % 1_000_000)


def reason(error: BaseException) -> str:
    """A failure of the system in words; never with arguments that might hold more than that."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or type(error).__name__}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def poller(sock: socket.socket) -> Any:
    """A function that says which events wait in the socket; made once, because making it costs more than asking."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return poll.poll
    return lambda timeout: select.select([sock], [], [], timeout)[0]
