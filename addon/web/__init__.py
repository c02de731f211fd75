# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""HTTP as requests and answers speak it, without I/O: heads, routing, conditions, ranges, codings, content types.

`routing` says what host and path ask for; `request_head` is the one form of a head that the lane takes; `forwarding`
what Forgejo is told of a visitor. `negotiation` chooses what of a file is sent, from its `representation`: by
`codings`, `conditions` and `ranges`; `content_types` says what it is, `http_dates` reads and writes dates.
`prepared_answers` keeps answers to be sent again. Begin with `routing`, then `negotiation`.
"""
