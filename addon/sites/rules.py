# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""All that a site's rule files say, read together: `_redirects`, `_headers`, `.redirects`. Pure and immutable.

The files themselves are kept, packed: they are what proxies share, so that who reads them from Redis comes to the same
rules by the same way, and believes nothing that a file could not say.
"""

import sys
import zlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from addon.sites import headers, plugin_redirects, redirects
from addon.sites.findings import Finding
from addon.sites.headers import HeaderRules
from addon.sites.redirect_table import Table
from addon.sites.rule_lines import LARGEST

IN_ROOT = (redirects.FILE, headers.FILE)
"""Rule files in the site's root, which are never content."""
NAMES = (*IN_ROOT, plugin_redirects.FILE)
_NO_REDIRECTS = Table({}, array("Q"), [])


@dataclass(frozen=True, slots=True)
class Rules:
    """What a site's rule files say. packed: the files by name, compressed. most: of `.redirects`, the rules read."""

    redirects: Table = _NO_REDIRECTS
    headers: HeaderRules = field(default_factory=HeaderRules)
    findings: tuple[Finding, ...] = ()
    packed: Mapping[str, bytes] = field(default_factory=dict)
    most: int = plugin_redirects.DEFAULT_MOST
    forced: bool = False
    nbytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.packed)

    def __repr__(self) -> str:
        return f"Rules({len(self.redirects)} redirects, {len(self.headers)} headers)"

    def files(self) -> dict[str, bytes]:
        """The files that they were read from, as far as they were read."""
        return {name: zlib.decompress(data) for name, data in self.packed.items()}


NO_RULES = Rules()


def read(files: Mapping[str, bytes], most: int = plugin_redirects.DEFAULT_MOST) -> Rules:
    """The rules in a site's rule files; takes a while for large ones (0.1 s for 10 000 rules).

    files: by their names in NAMES; others are passed over. most: rules of `.redirects` that are read.
    """
    known = {name: files[name] for name in NAMES if name in files}
    if not known:
        return NO_RULES
    findings: list[Finding] = []
    table, added = _NO_REDIRECTS, HeaderRules()
    if redirects.FILE in known:
        table, found = redirects.read(known[redirects.FILE])
        findings += found
        if plugin_redirects.FILE in known:
            findings.append(
                Finding(plugin_redirects.FILE, None, "`_redirects` is there, too, and counts alone", "remove one")
            )
    elif plugin_redirects.FILE in known:
        table, found = plugin_redirects.read(known[plugin_redirects.FILE], most)
        findings += found
    if headers.FILE in known:
        added, found = headers.read(known[headers.FILE])
        findings += found
    packed = {name: zlib.compress(data[: LARGEST + 1], 6) for name, data in known.items()}
    texts = sum(sys.getsizeof(finding.reason) + sys.getsizeof(finding.remedy) + 120 for finding in findings)
    nbytes = table.nbytes + added.nbytes + texts + sum(map(len, packed.values())) + 600
    return Rules(table, added, tuple(findings), packed, most, table.has_forced, nbytes)
