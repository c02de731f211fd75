# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How many files and sockets this process may have open: as many as the system lets it, not as many as it was given.

The soft limit is 1024 almost everywhere, for the sake of programs that use select(2); this is none of them. The hard
limit is what an administrator meant.
"""

import contextlib
import resource

MOST = 65_536
"""Descriptors that are counted on, whatever the limit says: each connection takes some kilobytes as well."""


def raised() -> int:
    """Raise the soft limit to the hard one; how many descriptors there may be from now on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return MOST if soft == resource.RLIM_INFINITY else min(soft, MOST)
