# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Fifty sites in four processes that want the same domain at the same moment."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.addon.domains.racing import HOST
from tests.addon.domains.registering import keys_of
from tests.addon.shared.nodes import options_of
from tests.integration.running import ROOT
from tests.resp.fleets import Cluster
from tests.resp.servers import Server

SHARES = [(1, 13), (14, 13), (27, 12), (39, 12)]


def test_one_of_them_gets_all_of_it_and_the_others_nothing(anywhere: Server | Cluster) -> None:
    command = [sys.executable, "-m", "tests.addon.domains.racing", json.dumps(options_of(anywhere))]
    processes = [
        subprocess.Popen(
            [*command, str(first), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for first, count in SHARES
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    told = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    winners = "".join(told).split()
    assert len(winners) == 1
    site = f"owner{winners[0]}:site"
    found = keys_of(anywhere)
    record = json.loads(found.pop(f"~pages:domains:{site.replace(':', '/')}"))
    assert list(record["hosts"]) == [HOST, f"dev.{HOST}"]
    assert found == {
        f"custom_domain:{HOST}": site,
        site: HOST,
        f"custom_domain:dev.{HOST}": f"{site}:dev",
        f"{site}:branch:dev": f"dev.{HOST}",
    }
