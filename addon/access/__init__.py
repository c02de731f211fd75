# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who may see a locked site: a request and a lock in, a decision out.

`control` is the decision, `locks` says which password counts, `passwords` checks one, `guess_limits` how many may be
tried, `cookies` and `signing_key` remember who gave the right one, `login` turns a decision into a page. Of
those who come by a login of Forgejo's: `member_cookies`, and `sealing` for what is kept of them. Knows no Forgejo and
no Redis. Begin with `control`.
"""
