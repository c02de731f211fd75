# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A page of 400 pictures, and whether a browser shows all of them on its first visit."""

from tests.integration.browser import Browser

PICTURES = 400
_BROKEN = "[...document.images].filter((picture) => picture.complete && !picture.naturalWidth).length"
_COMPLETE = "document.readyState == 'complete' && [...document.images].every((picture) => picture.complete)"
_KINDS = "new Set([...document.images].map((picture) => picture.naturalWidth)).size"


def gallery() -> dict[str, bytes]:
    """A site's files: none of the pictures is like another, and each is as wide as its number says."""
    picture = "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='9'><circle r='%d'/></svg>"
    files = {f"public/p{number}.svg": (picture % (number, number)).encode() for number in range(1, PICTURES + 1)}
    index = b"".join(b"<img src=p%d.svg>\n" % number for number in range(1, PICTURES + 1))
    return {".pages": b"enabled: true\n", "public/index.html": index} | files


async def shows_all(tab: Browser, address: str) -> None:
    """Open the gallery, and wait until every picture is there; none may be broken."""
    await tab.open(address)
    await tab.becomes(f"document.images.length == {PICTURES} && {_COMPLETE}", 120.0)
    broken, kinds = await tab.evaluate(_BROKEN), await tab.evaluate(_KINDS)
    assert (broken, kinds) == (0, PICTURES), f"{broken} of {PICTURES} are broken"
