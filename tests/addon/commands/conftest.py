# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands over the proxies of `tests.addon.shared`."""

from tests.addon.shared.conftest import blog, node, root

__all__ = ["blog", "node", "root"]
