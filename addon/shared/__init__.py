# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What proxies share in Redis or Valkey: keys and values, round trips, coherence.

`records` and `mappings` are the keys and values themselves, `round_trips` what is said in one go, `cache` the threads
and the tracking around them, `lookup` what a process knows of a repository and for how long. Knows `resp`. Begin with
`records`.
"""
