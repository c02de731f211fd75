# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The forge that is asked is the recorded one, as in the tests of the forge itself."""

from tests.addon.preview.conftest import forge_options, root

__all__ = ["forge_options", "root"]
