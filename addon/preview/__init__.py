# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A forge of one: the part of Forgejo's HTTP API that a pages server uses, over a folder or git repositories.

What `pages preview` serves from, and what the tests run as Forgejo. Answers as a recorded Forgejo 16 did, byte for
byte where the bytes matter. Needs dulwich for git repositories, tornado (which mitmproxy brings) for HTTP.
"""
