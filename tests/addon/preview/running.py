# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A running forge for tests and benchmarks: in a thread of its own, over a folder of repositories or the recorded ones.

`recorded_forge` is set up as the forge of the recordings was: private, limited, archived, renamed and moved
repositories, and the four tokens, whose secrets are `TOKENS`.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import brotli  # type: ignore[import-untyped]  # it comes without annotations

from addon.preview.forge import Forge
from addon.preview.settings import OwnerSettings, RepositorySettings, Token
from tests.addon.preview.fixtures import make_repositories
from tests.addon.preview.sites import Site

TOKENS = {
    "alice": "a1" * 20,
    "bob": "b2" * 20,
    "noscope": "c3" * 20,
    "public-only": "d4" * 20,
}
RENAMES = {"alice/oldname": "alice/newname", "alice/moving": "acme/moving", "oldie": "newbie"}


READY_SCRIPT = b"// a script with its encoded forms beside it\n" * 40
READY_GZIP = gzip.compress(READY_SCRIPT, 9, mtime=1)
READY_BROTLI = bytes(brotli.compress(READY_SCRIPT, quality=11))
LONG_PAGE = b"<!doctype html><title>Long</title>" + b"<p>All work and no play makes a page compress well.</p>\n" * 200


COMPRESS = {
    ".pages": b"enabled: true\n",
    "public/long.html": LONG_PAGE,
    "public/ready.js": READY_SCRIPT,
    "public/ready.js.gz": READY_GZIP,
    "public/ready.js.br": READY_BROTLI,
}


def everything_forge(root: Path) -> Forge:
    """The recorded forge over its repositories, made below `root`; and `compress/page`: LONG_PAGE as `long.html`."""
    make_repositories(root)
    Site(root / "compress" / "page.git", COMPRESS)
    return recorded_forge(root)


def start_forge(root: Path | None = None, *, port: int = 0, **options: Any) -> Forge:
    """A forge over the `OWNER/NAME.git` below `root`, listening in a thread until `stop()`, or the end of a `with`."""
    forge = Forge(root, **options)
    forge.start_thread(port)
    return forge


def recorded_options() -> dict[str, Any]:
    """Owners, repositories, renames and tokens as they were when the recordings were made."""
    created = "2026-11-23T05:16:46Z"
    people = {
        "alice": (2, "public", "alice@example.org"),
        "al.ice": (4, "public", None),
        "bob": (3, "public", "bob@example.org"),
        "limited": (5, "limited", "limited@example.org"),
        "hidden": (6, "private", "hidden@example.org"),
        "newbie": (7, "public", "oldie@example.org"),
    }
    owners = {
        name: OwnerSettings(id=number, visibility=visibility, email=email, created=created)
        for name, (number, visibility, email) in people.items()
    }
    owners["acme"] = OwnerSettings(id=8, organisation=True, created=created)
    owners["al.ice"].avatar = "a5b1cdba6ab600953dfb430e7887d462"
    repositories = {
        name: RepositorySettings(
            id=number,
            created=f"2026-11-23T05:{made}Z",
            updated=f"2026-11-23T05:{changed}Z",
            fields={"language": "HTML", **fields},
        )
        for name, number, made, changed, fields in _DATABASE
    }
    repositories["alice/secret"].private = True
    repositories["alice/archived"].archived = True
    return {
        "owners": owners,
        "repositories": repositories,
        "renames": RENAMES,
        "tokens": {
            TOKENS["alice"]: Token("alice"),
            TOKENS["bob"]: Token("bob"),
            TOKENS["noscope"]: Token("alice", frozenset({"read:misc"})),
            TOKENS["public-only"]: Token("alice", public_only=True),
        },
    }


# Id, times of creation and of the last push (16:50 past five), and what only a database knows.
_DATABASE: tuple[tuple[str, int, str, str, dict[str, object]], ...] = (
    ("acme/site", 3, "16:46", "16:49", {"watchers_count": 2}),
    ("al.ice/site", 4, "16:47", "16:49", {}),
    ("alice/.profile", 5, "16:48", "16:49", {"size": 1}),
    ("alice/Mixed.Case_1", 6, "16:48", "16:49", {}),
    ("alice/archived", 7, "16:49", "17:04", {"archived_at": "2026-11-23T05:17:04Z"}),
    ("alice/blog", 8, "16:50", "16:53", {"size": 21523, "language": "JavaScript"}),
    ("alice/broken", 9, "16:53", "16:53", {}),
    ("alice/disabled", 10, "16:53", "16:53", {}),
    ("alice/many", 11, "16:54", "16:54", {}),
    ("acme/moving", 12, "16:55", "17:04", {"watchers_count": 2}),
    ("alice/nopages", 13, "16:56", "16:56", {}),
    ("alice/nopublic", 14, "16:56", "16:56", {}),
    ("alice/newname", 15, "16:57", "17:03", {}),
    ("alice/pagesbranch", 16, "16:58", "16:58", {}),
    ("alice/secret", 17, "16:59", "17:00", {}),
    ("hidden/site", 18, "17:00", "17:00", {}),
    ("limited/site", 19, "17:01", "17:01", {}),
    ("newbie/site", 20, "17:01", "17:02", {}),
    ("alice/empty", 21, "17:02", "17:02", {"language": ""}),
    ("alice/sixtyfour", 22, "17:02", "17:02", {}),
)


def recorded_forge(root: Path, **options: Any) -> Forge:
    """A forge over `make_repositories(root)`, set up as the one that was recorded."""
    return start_forge(root, **(recorded_options() | options))
