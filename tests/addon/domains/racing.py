# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A process that registers one domain and a branch below it for many sites: `python -m … OPTIONS FIRST COUNT`.

OPTIONS: the settings that say where Redis is, as JSON. Says which of them got it, one line each. Begins when its
standard input is closed, so that several begin together.
"""

import asyncio
import json
import sys
import tempfile
import time

from addon.domains import claims
from addon.domains.store import NO_ANSWER, DomainStore
from addon.settings.schema import Settings
from addon.shared.cache import SharedCache
from addon.shared.domain_mappings import Mapping

HOST = "blog.example.org"


async def main(where: str, first: int, count: int) -> None:
    options = {**json.loads(where), "redisTimeout": "20s", "stateDir": tempfile.gettempdir()}
    mapping = {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:1", **options}
    shared = SharedCache.of(Settings.from_mapping(mapping, environ={}))
    store = DomainStore(shared)

    async def register(number: int) -> None:
        site = Mapping(f"owner{number}", "site")
        wishes = [claims.DesiredDomain(HOST), claims.DesiredDomain(f"dev.{HOST}", "dev")]
        told = await store.change(claims.settled(site, number, wishes, beaten={}, found=(), now=time.time()))
        assert told is not NO_ANSWER
        assert len(told.held) in (0, 2), "half of it"
        if told.held:
            print(number, flush=True)

    await asyncio.gather(*(register(number) for number in range(first, first + count)))
    await store.aclose()
    assert shared is not None
    await shared.aclose()


if __name__ == "__main__":
    sys.stdin.read()
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:4])))
