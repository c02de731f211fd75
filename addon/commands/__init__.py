# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The command `pages` and its parts. `cli` reads the arguments; each other module is one command."""
