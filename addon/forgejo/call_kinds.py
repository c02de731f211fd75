# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a call to Forgejo asks for, in a word. Pure. There are ten kinds, however many sites there are."""

import re

ELSEWHERE = "elsewhere"
"""Stands for the address of a server that Forgejo sent us to."""
_KINDS = {
    "": "repository",
    "branches": "branch",
    "git/trees": "tree",
    "git/blobs": "blobs",
    "raw": "file",
    "media": "large file",
}
_API = re.compile(r"/api/v1/repos/[^/?]+/[^/?]+/?((?:git/)?[a-z]*)")
KINDS = frozenset((*_KINDS.values(), "version", "repositories", "large file elsewhere", "other"))


def kind_of(target: str) -> str:
    """The kind of a call, by what it asks for below the forge's address."""
    found = _API.match(target)
    if found is not None:
        return _KINDS.get(found[1], "other")
    if target.startswith("/api/v1/version"):
        return "version"
    if target.startswith("/api/v1/users/"):
        return "repositories"
    if target == ELSEWHERE:
        return "large file elsewhere"
    return "file" if "/raw/" in target else "other"
