# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""The pages server: a mitmproxy addon that serves web sites out of Forgejo repositories."""

__version__ = "0.1.0"
