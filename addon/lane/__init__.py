# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The fast face: HTTP of our own where mitmproxy's reverse mode listens.

`lane` puts it there and is the only room here that knows mitmproxy, `connection` is one connection, `answers` the
bytes of a response. What is not exactly of the form it knows goes to mitmproxy's own handler. Begin with `connection`.
"""
