# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages explain`: what the running server answers at an address, and why, for people or as JSON.

The running server says it (`/explain` of `adminListen`), for it alone has the memory that the answer came out of.
"""

from typing import Any
from urllib.parse import urlencode

from addon.commands.arguments import print_json, printable
from addon.commands.running_server import asked
from addon.settings.schema import Settings

_WIDTH = 12


def explain_command(settings: Settings, url: str, *, method: str, headers: list[str], cold: bool, as_json: bool) -> int:
    """Explain an address; returns the exit code: 0 whatever its answer is. Raises NoServer where nobody explains it."""
    query = [("url", url), ("method", method), *(("header", line) for line in headers), *([("cold", "1")] * cold)]
    told = asked(settings, f"/explain?{urlencode(query)}")
    if as_json:
        print_json(told)
    else:
        print("\n".join(lines(told)))
    return 0


def lines(told: dict[str, Any]) -> list[str]:
    """An explanation for people."""
    found = [f"{told['method']} {told['url']}", ""]
    found += [_line(step["step"], step["says"]) for step in told["steps"]]
    found += _dns(told["dns"]) if told.get("dns") is not None else []
    found += [
        _line(each["whom"], f"{each['what']}: {each['came_to'] or 'no answer'}, {each['ms']} ms")
        for each in told["asked"]
    ]
    if not told["asked"] and told["status"] is not None:
        found.append(_line("asked", "nobody: all of it was in memory"))
    if told["status"] is None:
        return found
    found += ["", f"Answer: {told['status']}, {told['body']['bytes']:,} bytes, {told['body']['comes']}"]
    for header in told["headers"]:
        by = "" if header["by"] == "this server" else f"   ({header['by']})"
        found.append(f"  {header['name']}: {header['value']}{by}")
    if told["cold"]:
        found += [
            "",
            "This is what Forgejo says now: nothing that was known before was used, and Redis was not asked",
            "about repositories, so that a password that stands there alone is not seen.",
        ]
    return [printable(line) for line in found]


def _dns(dns: dict[str, Any]) -> list[str]:
    if dns["aliases"] is None or dns["addresses"] is None:
        return [_line("DNS", dns.get("trouble", "does not answer"))]
    way = " is an alias for ".join(["it", *dns["aliases"]]) if dns["aliases"] else "it is no alias"
    leads = {True: "it leads here", False: "it does not lead here", None: "whether it leads here cannot be told"}
    may = "may" if dns["certificate_may_be_asked_for"] else "may not"
    addresses = ", ".join(dns["addresses"]) or "none"
    return [
        _line("DNS", f"{way}; addresses: {addresses}; {leads[dns['leads_here']]}; a certificate {may} be asked for")
    ]


def _line(name: str, says: str) -> str:
    return f"{name:{_WIDTH}} {says}"
