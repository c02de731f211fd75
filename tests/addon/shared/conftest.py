# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A forge with one small site that changes, and proxies in front of it that share a Redis or Valkey."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from addon.preview.forge import Forge
from tests.addon.preview.sites import Site
from tests.addon.shared.nodes import Node, Place

FIRST = b"<!doctype html><title>First</title><h1>First</h1>\n"
MakeNode = Callable[..., Node]


@pytest.fixture
def blog(tmp_path: Path) -> Iterator[Site]:
    """The repository alice/blog; `commit` is a push."""
    files = {
        ".pages": b"enabled: true\n",
        "public/index.html": FIRST,
        "public/old.html": b"old",
        "public/a.css": b"a{}",
    }
    site = Site(tmp_path / "forge" / "alice" / "blog.git", files)
    yield site
    site.close()


@pytest.fixture
def root(blog: Site) -> Path:
    """Of a forge that has the blog."""
    return blog.path.parent.parent


@pytest.fixture
async def node(forge: Forge, tmp_path: Path) -> AsyncIterator[MakeNode]:
    """`node(redis, **options)`: a proxy in front of the forge; redis: where it is."""
    async with contextlib.AsyncExitStack() as stack:

        def make(redis: Place, **options: Any) -> Node:
            made = Node(forge.url, redis, tmp_path, **options)
            stack.push_async_callback(made.aclose)
            return made

        yield make
