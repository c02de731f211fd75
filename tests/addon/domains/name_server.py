# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A DNS server on loopback that says what a test tells it to, by UDP and TCP, and can be silent or wrong."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


class NameServer:
    """Its zone: (name, kind) → values, as in a zone file.

    trouble: "servfail", "refused", "silent" or "garbage", by name; that of "*" is for all.
    """

    def __init__(self) -> None:
        self.hung_up = 0  # clients over TCP that have closed their connection
        self.zone: dict[tuple[str, str], list[str]] = {}
        self.trouble: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def txt(self, name: str, *texts: str) -> None:
        """Texts of a name; those above 255 bytes are split, as they have to be."""
        self.zone[name, "TXT"] = [
            " ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200)) or '""' for text in texts
        ]

    def cname(self, name: str, target: str) -> None:
        self.zone[name, "CNAME"] = [f"{target}."]

    def answer(self, data: bytes, *, udp: bool) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        trouble = self.trouble.get(name, self.trouble.get("*", ""))
        if trouble == "silent":
            return None
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        if trouble == "garbage":
            return data[:2] + b"\xff" * 20
        if trouble in ("servfail", "refused"):
            reply.set_rcode(dns.rcode.SERVFAIL if trouble == "servfail" else dns.rcode.REFUSED)
            return reply.to_wire()
        at = name
        for _ in range(12):
            values, alias = self._values(at, kind), self._values(at, "CNAME")
            if values:
                reply.answer.append(dns.rrset.from_text_list(f"{at}.", 60, "IN", kind, values))
                break
            if not alias:
                break
            reply.answer.append(dns.rrset.from_text_list(f"{at}.", 60, "IN", "CNAME", alias))
            at = alias[0].rstrip(".")
        if not reply.answer and not any(known == name for known, _ in self.zone):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        wire = reply.to_wire(max_size=65535)
        if udp and len(wire) > 1232:
            reply.answer.clear()
            reply.flags |= dns.flags.TC
            wire = reply.to_wire()
        return wire

    def _values(self, name: str, kind: str) -> list[str]:
        wild = "*." + name.partition(".")[2]
        return self.zone.get((name, kind), self.zone.get((wild, kind), []))


@contextmanager
def name_server() -> Iterator[NameServer]:
    """A running one."""
    place = NameServer()

    class Datagram(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            reply = place.answer(data, udp=True)
            if reply is not None:
                sock.sendto(reply, self.client_address)

    class Stream(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            head = self.request.recv(2, socket.MSG_WAITALL)
            if len(head) == 2:
                reply = place.answer(self.request.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL), udp=False)
                if reply is not None:
                    self.request.sendall(struct.pack("!H", len(reply)) + reply)
                    self.request.settimeout(20)
                    with contextlib.suppress(ConnectionError):
                        self.request.recv(1)
                    place.hung_up += 1

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Stream) as tcp:  # of TCP, more ports are taken
        place.port = tcp.server_address[1]
        with socketserver.ThreadingUDPServer(("127.0.0.1", place.port), Datagram) as udp:
            threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in (udp, tcp)]
            for thread in threads:
                thread.start()
            try:
                yield place
            finally:
                udp.shutdown()
                tcp.shutdown()
                for thread in threads:
                    thread.join()
