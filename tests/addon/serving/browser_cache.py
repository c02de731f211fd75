# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A browser's private cache as RFC 9111 has it, as far as our answers go: freshness, validation, no-store.

It is as eager as the rules allow: whatever may be used without asking is, and reloads nothing. `heuristic` adds what
browsers may do where nothing is said (§4.2.2), so that an answer that says nothing is noticed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tests.addon.serving.pages import Reply, Serving


@dataclass
class Stored:
    """A stored response. at: when it came, in seconds of the browser's clock."""

    reply: Reply
    at: float

    @property
    def fresh_for(self) -> float:
        """§4.2.1: seconds for which it may be used without asking."""
        directives = self.reply.headers.get("cache-control", "")
        if "no-cache" in directives:
            return 0.0
        age = re.search(r"max-age=([0-9]+)", directives)
        return float(age[1]) if age is not None else 3600.0  # heuristic


@dataclass
class Browser:
    """Loads addresses of one owner's host through a private cache."""

    pages: Serving
    seconds: float = 0.0
    stored: dict[str, Stored] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def load(self, target: str) -> Reply:
        """The response to a GET of this address, from the cache where the cache may answer."""
        held = self.stored.get(target)
        if held is not None and self.seconds - held.at < held.fresh_for:
            return held.reply
        conditions = {}
        if held is not None and "etag" in held.reply.headers:
            conditions["if_none_match"] = held.reply.headers["etag"]
        elif held is not None and "last-modified" in held.reply.headers:
            conditions["if_modified_since"] = held.reply.headers["last-modified"]
        self.asked.append(target)
        reply = await self.pages.get("alice", target, accept_encoding="gzip, deflate, br, zstd", **conditions)
        if reply.status == 304:
            assert held is not None
            # §4.3.4: the validated response, with the fields of the 304.
            reply = Reply(200, held.reply.headers | reply.headers, held.reply.body, reply.recalled)
        if "no-store" not in reply.headers.get("cache-control", ""):
            self.stored[target] = Stored(reply, self.seconds)
        return reply
