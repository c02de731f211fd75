# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How long what was found out about a repository may be used (its TTLs), and when Forgejo is asked again.

Pure: times in seconds, of a clock that goes forward. `cacheTTL` and `staleTTL` are the operator's; "there is no such
site" is believed for NEGATIVE_TTL, whatever `cacheTTL` is above that.
"""

import enum

from addon.forgejo.errors import ForgejoError

NEGATIVE_TTL = 10.0
"""Seconds for which "no such site" is believed; short, for its owner is about to push."""
TROUBLE_PAUSE = 2.0
"""Seconds until what Forgejo did not answer is asked again; for a known repository doubled at each failure."""
TROUBLE_PAUSE_MAX = 60.0
FORMER_LIFE = 3600.0
"""Seconds for which a page that was loaded before a deploy gets the files of its own build."""


class Freshness(enum.Enum):
    """What is known of a repository is still good for this."""

    FRESH = "all"
    DOUBTFUL = "all but an answer that it alone makes a no"
    AGING = "the same, and to be looked at again behind the visitor's back"
    OLD = "use if a new look takes too long"
    EXPIRED = "nothing"


def fresh_until(looked: float, ttl: float, *, a_site: bool) -> float:
    """Until when it may be used without a second thought. looked: when Forgejo said so; ttl: `cacheTTL`."""
    return looked + (ttl if a_site else min(NEGATIVE_TTL, ttl))


def freshness_after(age: float, ttl: float, stale_ttl: float, *, troubled: bool) -> Freshness:
    """What it is good for at an age above `fresh_until`. troubled: Forgejo gave no answer when it was asked again."""
    if age >= stale_ttl:
        return Freshness.EXPIRED
    if troubled:
        return Freshness.AGING
    if age < ttl:
        return Freshness.DOUBTFUL
    return Freshness.AGING if age < 2 * ttl else Freshness.OLD


def pause_after(trouble: ForgejoError, failures: int) -> float:
    """Seconds until Forgejo is asked again after so many failures in a row before this one: more where it said so."""
    asked: float = getattr(trouble, "retry_after", 0.0)
    wait = min(asked, TROUBLE_PAUSE_MAX)
    return max(min(TROUBLE_PAUSE * 2.0 ** min(failures, 10), TROUBLE_PAUSE_MAX), wait)
