# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands over the servers of `tests.addon.domains` and the proxies of `tests.addon.shared`."""

from tests.addon.domains.conftest import _started, own_redis, redis
from tests.addon.shared.conftest import blog, forge, node

__all__ = ["_started", "blog", "forge", "node", "own_redis", "redis"]
