# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""File names that bear a hash of the content, as build tools write them: what may be kept for a year. Pure.

Such a name is another file's after each change, so whoever has it needs never ask again. The surprise: not every hash
is recognised. A name that only looks like one would be kept for a year after its content changed, while a hash that is
missed costs a 304; so a hash has to look like nothing that people write (`Version2`, `20240315`, `deadbeef`).
"""

import re
from itertools import pairwise

# What stands behind the hash: `.js`, `.min.css`, `.js.map`, `.lean.js`; never a page or a document, which people name.
_QUALIFIERS = frozenset(
    ("min", "chunk", "bundle", "module", "lean", "legacy", "esm", "iife", "umd", "worker", "prod", "async")
)
_TYPES = frozenset(
    (
        *("js", "mjs", "cjs", "css", "wasm", "json", "map", "woff", "woff2", "ttf", "otf", "eot"),
        *("svg", "png", "apng", "jpg", "jpeg", "gif", "webp", "avif", "ico"),
        *("mp4", "webm", "mp3", "ogg", "m4a", "wav", "glb", "gltf", "bin", "data", "txt"),
    )
)
# Between `.`, `-` or `_` and the ending. webpack and Rspack (output.filename, `[contenthash]`): 20 hex, 16 in Next.js,
# 8 in Docusaurus and Create React App. Parcel ("Content hashing"): 8. Hugo (resources.Fingerprint): 32, 64, 96 or 128.
# Jekyll's asset plugins by way of Sprockets ("Fingerprinting"): 32 or 64. Material for MkDocs' own bundles: 8. Gatsby
# ("Caching static sites"), Ember (broccoli-asset-rev), Angular before 17: 20, 32, 16.
_HEX = re.compile(
    r"(?:\A|.*[.\-_~])([0-9a-f]{8}|[0-9a-f]{10}|[0-9a-f]{12}|[0-9a-f]{16}|[0-9a-f]{20}|[0-9a-f]{32}|[0-9a-f]{40}"
    r"|[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128})\Z"
)
# Between `.` or `-` and the ending. Rollup, and so Vite, Astro and VitePress (output.hashCharacters): 8 of base64url.
# esbuild ("Entry names", `[hash]`), and so tsup and Angular since 17: 8 of base32.
_SHORT = re.compile(r".*[.\-]([0-9A-Za-z_\-]{8})\Z")
_BASE32 = re.compile(r"[A-Z2-7]{8}\Z")
_WORD = re.compile(r"[A-Za-z][a-z]{3}")
# Folders of which their makers say that all in them may be kept for ever.
_FOLDERS = re.compile(r"(?:\A|/)(?:_app/immutable|_next/static|_astro)/[^/]")  # SvelteKit, Next.js, Astro


def is_hashed(path: str) -> bool:
    """Whether a path's last name bears a hash of the content, or its folder holds such files alone."""
    name = path.rpartition("/")[2]
    if len(name) > 255:
        return False
    stem = _stem(name)
    if stem is None:
        return False
    if _FOLDERS.search(path) is not None:
        return True
    found = _HEX.match(stem)
    if found is not None:
        # Digits alone are dates and numbers, letters alone are words.
        whole = found.start(1) == 0
        return not (found[1].isdigit() or found[1].isalpha()) and (len(found[1]) >= 16 or not whole)
    found = _SHORT.match(stem)
    return found is not None and _is_random(found[1])


def _stem(name: str) -> str | None:
    """A name without its type and what qualifies it (`app.3f9c2b7e.min.js.map`); None where it has no such type."""
    for tail in (".map", ".LICENSE.txt", ""):
        rest, dot, kind = name.removesuffix(tail).rpartition(".")
        if name.endswith(tail) and dot and kind in _TYPES:
            break
    else:
        return None
    while True:
        before, dot, word = rest.rpartition(".")
        if not dot or word not in _QUALIFIERS:
            return rest
        rest = before


def _is_random(text: str) -> bool:
    """Whether eight characters are none that a person would write: several kinds, mixed."""
    kinds = ["d" if c.isdigit() else "U" if c.isupper() else "l" if c.islower() else "-" for c in text]
    changes = sum(one != other for one, other in pairwise(kinds))
    if _BASE32.match(text):
        return "d" in kinds and (changes >= 2 or kinds[0] == "d")
    mixed = "U" in kinds and "l" in kinds and ("d" in kinds or "-" in kinds)
    return mixed and changes >= 4 and _WORD.search(text) is None
