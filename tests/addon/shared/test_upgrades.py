# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Proxies of two versions on one Redis, as during an upgrade: each serves what is there now, in its own shape.

The older one writes and reads the records of the version before. Both run in this process, so the version is set for
each before it works.
"""

from __future__ import annotations

import json

import pytest

from addon.shared import records
from tests.addon.preview.sites import Site
from tests.addon.shared.conftest import FIRST, MakeNode
from tests.addon.shared.nodes import Node
from tests.resp.servers import Server

NEW = records.SITE_VERSION
OLD = NEW - 1


class Versions:
    """Sets which version the code is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    async def serves(self, version: int, node: Node, body: bytes) -> None:
        """A node of that version serves this page, and has then written what it had to."""
        self._monkeypatch.setattr(records, "SITE_VERSION", version)
        page = await node.get("alice", "/blog/")
        assert (page.status, page.body) == (200, body)
        await node.settled()


def version_of(redis: Server, commit: str | None) -> int:
    value = redis.ask("GET", f"~pages:site:alice/blog@{commit}")
    assert isinstance(value, bytes), "the record of a site"
    return int(json.loads(value)["v"])


async def test_two_versions_share_a_redis_and_serve_what_is_pushed(
    node: MakeNode, redis: Server, blog: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    versions = Versions(monkeypatch)
    old, new = await node(redis).tracked(), await node(redis).tracked()
    await versions.serves(OLD, old, FIRST)
    assert version_of(redis, blog.head()) == OLD
    await versions.serves(NEW, new, FIRST)  # it replaces what the older one wrote
    assert version_of(redis, blog.head()) == NEW
    await versions.serves(OLD, await node(redis).tracked(), FIRST)  # a cold one of the older version asks Forgejo
    assert version_of(redis, blog.head()) == NEW, "it leaves alone what it cannot read"
    for turn, (version, pushed) in enumerate(((OLD, old), (NEW, new))):
        body = b"push %d" % turn
        blog.commit({"public/index.html": body})
        monkeypatch.setattr(records, "SITE_VERSION", version)
        await pushed.looks.purge(("alice", "blog"))
        await versions.serves(version, pushed, body)
        await versions.serves(NEW, new, body)
        await versions.serves(OLD, old, body)
    assert "cannot be read" not in caplog.text
    assert "internal error" not in caplog.text
