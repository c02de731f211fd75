# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A DNS server that is asked as dnspython asks, but of whose long answers nothing is read.

Whoever owns a zone decides how long its answers are; over TCP they may have 64 KiB and thousands of records, each of
which costs 15 µs to take apart, on the event loop. No proof needs that. What is longer, or has more records, is taken
for an answer without any: it proves nothing.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any, Final

import dns.message
import dns.nameserver
import dns.query

LARGEST: Final = 8 * 1024
"""Bytes of an answer."""
MOST_RECORDS: Final = 120
"""Records of all kinds in an answer."""


class BoundedServer(dns.nameserver.Do53Nameserver):
    """A server at an address."""

    async def async_query(
        self,
        request: dns.message.QueryMessage,
        timeout: float,
        source: str | None,
        source_port: int,
        max_size: bool,
        *rest: Any,
        **named: Any,
    ) -> dns.message.Message:
        """As dnspython's; what comes by UDP is short by the size that we say in the question."""
        if not max_size:
            return await super().async_query(request, timeout, source, source_port, max_size, *rest, **named)
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(self.address, self.port, limit=LARGEST)
            try:
                wire = request.to_wire()
                writer.write(struct.pack("!H", len(wire)) + wire)
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                if length > LARGEST:
                    return dns.message.make_response(request)
                answer = await reader.readexactly(length)
            finally:
                writer.transport.abort()
        if len(answer) >= 12 and sum(struct.unpack_from("!HHH", answer, 6)) > MOST_RECORDS:
            return dns.message.make_response(request)
        response = dns.message.from_wire(answer)
        if not request.is_response(response):
            raise dns.query.BadResponse
        return response
