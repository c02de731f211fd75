# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The fast way in: an HTTP server of our own where mitmproxy's reverse mode listens.

`install` puts it there and is the only module here that knows mitmproxy; `lane` is what connections share; `http1` is
one connection, with `http1_bodies` for what takes longer and `answers` for the bytes of a response; `repeated_requests`
is what is asked again. What is not exactly of the form it knows goes to mitmproxy's own handler (`handover`). Begin
with `http1`.
"""
