# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What proxies share in Redis or Valkey: keys and values, round trips, coherence.

`records` and `domain_mappings` are the keys and values themselves; `lookup` what a process knows of a repository, and
`freshness` for how long. `round_trips` is a question in one go, `reads` and `writes` are those about repositories,
`added_locks` those about passwords; `cache` is the threads around them, and what happens while Redis is away.
`guess_counts` and `login_key` are what access shares (`member_sessions` and `one_use`: logins by Forgejo),
`domain_records` and `traefik_router_keys` what domains do. Knows `resp`. Begin with `records`, then `cache`.
"""
