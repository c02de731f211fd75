# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""How names chosen by strangers (files, hosts, paths) are shown, linked, ordered and measured.

Pure functions over text. A name is data in three different languages at once: HTML (escaping is the template's work),
URLs (`relative_reference`) and human eyes (`visible_text`: what cannot be seen, or what turns the direction of reading,
is spelled out). The surprising decision: every link starts with `./`, because a file may be called `javascript:…`
or `//host`, and a relative path can be neither.
"""

from __future__ import annotations

import re
from urllib.parse import quote

# Controls, bidirectional overrides and isolates, invisible fillers and operators, tags, lone surrogates. Not in it:
# U+200C and U+200D, which Persian, the scripts of India and many emoji cannot be written without.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff0-\ufffc\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)
_DIGITS = re.compile("([0-9]+)")
_UNITS = ("KB", "MB", "GB")


def visible_text(text: str) -> str:
    """The same text with each character that cannot be seen, or that reorders others, spelled out as `⟨U+202E⟩`."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


def relative_reference(name: str, *, directory: bool = False) -> str:
    """A URL, relative to the folder that is being shown, of the entry `name` (one path segment, not encoded).

    RFC 3986 §3.3 and §4.2: every octet but the unreserved ones is percent-encoded, UTF-8; octets that were not UTF-8
    (lone surrogates of Python's `surrogateescape`) come back as they were.
    """
    try:
        octets = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        octets = name.encode("utf-8", "replace")
    return f"./{quote(octets, safe='')}{'/' if directory else ''}"


def natural_order(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """A sort key in which `page 2` comes before `page 10` and case matters last.

    Digits are compared by length and then as text, never as `int`: Python refuses very long numbers.
    """
    parts: list[str | tuple[int, str]] = list(_DIGITS.split(name.casefold()))
    for place in range(1, len(parts), 2):
        number = str(parts[place]).lstrip("0")
        parts[place] = (len(number), number)
    return parts, name


def size_text(size: int) -> str:
    """A number of bytes for people: `0 B`, `1023 B`, `1.0 KB`, `1.5 KB`, `1.0 MB` (facts of the origin's listing)."""
    if size < 1024:
        return f"{size} B"
    power = min((size.bit_length() - 1) // 10, len(_UNITS))
    return f"{size / 1024**power:.1f} {_UNITS[power - 1]}"
