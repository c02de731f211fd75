# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Our redirect rules against Netlify's own matcher: a hundred thousand requests at random rules, no difference.

What we decided otherwise is not generated, and stands here. Paths are compared decoded (`/caf%C3%A9` is `/café`), which
theirs are not. A second `*`, one with text behind it in its part, and a host with a placeholder are refused, as are
statuses below 200 and above 499 and conditions on who asks. What a query captured is put into a path as `%20` where
theirs writes `+`, and into a query with its `&` encoded. `:xy` is never `:x` with a `y`. `//` at the beginning of a
target is one slash; of a page that is shown, query and fragment are not kept. Both leave out paths below the target of
a rule with `*`, but theirs compares letters and ours whole parts (the table in test_redirects.py has both).
"""

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from addon.sites.redirect_table import REDIRECTS
from addon.sites.redirects import read

CASES = 100_000
_SETS = 4_000
_WORDS = ("a", "b", "ab", "c.html", "x-y", "1")
_NAMES = ("x", "y", "zz")
_STATUSES = ("", "301", "302", "200", "404", "410", "301!", "200!", "303", "307", "308", "451")


def module() -> str:
    """The folder of npm's netlify-redirector, if it is somewhere; where it has to be, its absence is a failure."""
    found = os.environ.get("NETLIFY_REDIRECTOR", "")
    if found and shutil.which("node") and Path(found, "package.json").exists():
        return found
    if os.environ.get("CI"):
        pytest.fail("CI has to have Node and netlify-redirector: .ci/run installs them and sets NETLIFY_REDIRECTOR")
    pytest.skip(
        "needs Node and Netlify’s matcher: npm install --prefix DIR netlify-redirector, then"
        " NETLIFY_REDIRECTOR=DIR/node_modules/netlify-redirector"
    )


def a_path(rng: random.Random) -> str:
    parts = [rng.choice(_WORDS) for _ in range(rng.randrange(5))]
    return "/" + "/".join(parts) + ("/" if parts and rng.random() < 0.3 else "")


def a_query(rng: random.Random) -> str:
    pairs = [f"{rng.choice('pqr')}={rng.choice(('1', '2', '', 'a b', 'é'))}" for _ in range(rng.randrange(3))]
    return "&".join(pairs).replace(" ", rng.choice(("+", "%20"))).replace("é", "%C3%A9")


def a_rule(rng: random.Random) -> str:
    parts, names = [], []
    splat = False
    for _ in range(rng.randrange(1, 5)):
        kind = rng.random()
        if kind < 0.3:
            name = rng.choice(_NAMES)
            names.append(name)
            parts.append(f":{name}")
        elif kind < 0.42 and not splat:
            splat = True
            parts.append("*" if rng.random() < 0.8 else rng.choice(("a*", "b*")))
        else:
            parts.append(rng.choice(_WORDS))
    origin = "/" + "/".join(parts) + ("/" if rng.random() < 0.15 else "")
    if rng.random() < 0.08:
        origin = rng.choice(("https://site.example", "http://site.example", "https://other.example")) + origin
    query = []
    if rng.random() < 0.2:
        query.append(rng.choice(("p=1", "p=:q", "q=:splat", "r=2", "q=:x")))
        names += [word.partition(":")[2] for word in query if ":" in word]
    names += ["splat"] if splat else []
    to = "/" + "/".join(
        rng.choice([*_WORDS, *(f":{name}" for name in names), *(f"p-:{name}-q" for name in names)])
        for _ in range(rng.randrange(1, 4))
    )
    if rng.random() < 0.15:
        to += "?z=" + rng.choice([*_WORDS, *(f":{name}" for name in names)])
    if rng.random() < 0.1:
        to += "#part"
    status = rng.choice(_STATUSES)
    if splat and not status.startswith("200"):
        to = f"/t{to}"  # a rule does not send on what it has sent: see test_redirects.py
    if rng.random() < 0.1 and status[:3] not in ("200", "404", "410", "451"):
        to = f"https://elsewhere.example{to}"
    comment = " # why" if rng.random() < 0.05 else ""
    return " ".join([origin, *query, to, *filter(None, [status])]) + comment


def same(theirs: str, status: int) -> str:
    """Their target as ours is written; see the differences above."""
    path, mark, rest = theirs.partition("?")
    if status not in REDIRECTS:
        path, mark, rest = path.partition("#")[0], "", ""
    path = path.replace("+", "%20")
    return ("/" + path.lstrip("/") if path.startswith("/") else path) + mark + rest.replace("+", "%20")


def test_a_hundred_thousand_requests_get_what_netlify_gives_them() -> None:
    rng = random.Random(18)
    sets = []
    for _ in range(_SETS):
        rules = [a_rule(rng) for _ in range(rng.randrange(1, 9))]
        requests = [(a_path(rng), a_query(rng)) for _ in range(CASES // _SETS)]
        sets.append((rules, requests))
    asked = "\n".join(
        json.dumps(
            {
                "rules": "\n".join(rules),
                "requests": [
                    {"scheme": "https", "host": "site.example", "path": path, "query": query}
                    for path, query in requests
                ],
            }
        )
        for rules, requests in sets
    )
    script = str(Path(__file__).with_name("netlify_oracle.js"))
    done = subprocess.run(
        ["node", script, module()], input=asked, capture_output=True, text=True, check=True, timeout=500
    )
    differences, met = [], 0
    for (rules, requests), line in zip(sets, done.stdout.splitlines(), strict=True):
        table, findings = read("\n".join(rules).encode())
        assert not [finding for finding in findings if "already" not in finding.reason], (rules, findings)
        for (path, query), theirs in zip(requests, json.loads(line), strict=True):
            segments = tuple(part for part in path.split("/") if part)
            found = table.find(segments, path.endswith("/"), query, "site.example", lambda: True)
            ours = found and (found.status, found.force, found.to)
            wanted = theirs and (theirs["status"], theirs["force"], same(theirs["to"], theirs["status"]))
            met += theirs is not None
            if ours != wanted:
                differences.append((rules, path, query, ours, wanted))
    assert len(sets) * len(sets[0][1]) == CASES
    assert met > CASES // 5
    assert not differences, f"{len(differences)}: " + "\n".join(map(str, differences[:40]))
