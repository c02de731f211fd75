# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`.redirects`, the file of the Traefik plugin: `FROM:TO` a line, read as rules of ours. Pure.

There, it had to be loaded by a visit to `/LOAD_REDIRECTS` and became middlewares of Traefik; here it is a file like
`_redirects`, and stands behind it: where a site has both, this one is not read. Two habits of the plugin are kept: the
rules go before files, and what comes after `maxRedirects` rules is left out. Two are not: `old` does not match `older`,
and one bad line does not take the others with it.
"""

from addon.sites.findings import Finding, Findings, quoted
from addon.sites.redirect_table import Table
from addon.sites.redirects import DEFAULT_STATUS, MOST_DYNAMIC, Builder
from addon.sites.rule_lines import Unfit, lines

FILE = ".redirects"
DEFAULT_MOST = 25


def read(data: bytes, most: int = DEFAULT_MOST) -> tuple[Table, tuple[Finding, ...]]:
    """The rules of a `.redirects` file, and what is wrong with it; most: rules that are read (`maxRedirects`)."""
    findings = Findings(FILE)
    builder = Builder(findings, most, MOST_DYNAMIC)
    for number, text in lines(data, findings):
        text = text.strip()
        if text.startswith("#"):
            continue
        origin, colon, to = (part.strip() for part in text.partition(":"))
        try:
            if not (colon and origin and to):
                raise Unfit(f"{quoted(text)} is no rule", "write `from:to`, for example `old.html:new.html`")
            absolute = to.lower().startswith(("http://", "https://"))
            builder.add_path(number, origin.strip("/"), DEFAULT_STATUS, to if absolute else f"/{to.lstrip('/')}")
        except Unfit as unfit:
            findings.add(number, unfit.reason, unfit.remedy)
    return builder.table(), findings.all()
