# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Files that are encoded as they lie there, and whose readers ask for them by that name: `logo.svgz`, `game.wasm.br`.

A browser shows an `.svgz`, and the loaders of Unity, Unreal and Emscripten take their parts, only where the answer says
which content coding they are in; then its type is that of what is inside. The surprise: `.gz` counts for such parts
alone. Whoever asks for `data.csv.gz` or `sitemap.xml.gz` wants that file, not what is in it, while nothing but a
browser's own decoder reads `.br` there. Whether the bytes are of that coding has to be looked at (`codings.decodes`).
"""

from typing import NamedTuple

_ALONE = {
    "svgz": "svgz",
    # Unreal Engine, "HTML5": compressed by its packager.
    **{f"{inner}gz": inner for inner in ("js", "data", "mem", "symbols", "wasm")},
}
"""Endings that stand for gzip and for what is inside."""
# Unity Manual, "Deploy a Web application": .js, .wasm, .data and .symbols.json, each with .gz or .br. Emscripten: .mem.
_PARTS = ("js", "mjs", "wasm", "data", "mem", "symbols.json")
_BESIDE = ("html", "htm", "css", "json", "svg", "xml", "txt", "map")  # of brotli: what build tools leave beside a file


class Encoded(NamedTuple):
    """A file in a content coding. name: of what is inside, for its type."""

    coding: str
    name: str


def encoded_name(path: str) -> Encoded | None:
    """Which coding a file is in by its name, if it is to be served as what is inside."""
    name = path.rpartition("/")[2].lower()
    stem, _, ending = name.rpartition(".")
    if not stem:
        return None
    if ending in _ALONE:
        return Encoded("gzip", f"{stem}.{_ALONE[ending]}")
    if ending == "br" and any(stem.endswith(f".{part}") for part in (*_PARTS, *_BESIDE)):
        return Encoded("br", stem)
    if ending == "gz" and any(stem.endswith(f".{part}") for part in _PARTS):
        return Encoded("gzip", stem)
    return None
