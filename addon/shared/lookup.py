# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is known of a repository, and for how long that may be used. Pure: no network, no clock of its own.

A `Lookup` is immutable and replaced as a whole after each look at Forgejo: it holds either a site or the reason why
there is none. Trouble (anything that is not an answer) never replaces what is known; it is noted beside it. The
surprising decision: "there is no such site" is believed for seconds only, but kept for longer, since most paths of a
profile site ask first for a repository that does not exist, and need not ask Forgejo each time.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from addon.forgejo.answers import Repository
from addon.forgejo.errors import ForgejoError
from addon.forgejo.lfs import LfsPointer
from addon.shared.freshness import FORMER_LIFE, Freshness, fresh_until, freshness_after, pause_after
from addon.sites.site import Site

_MOST_FORMER = 3
_LARGEST_FORMER = 20_000
"""Files of a site above which nothing is remembered of its former commits: a file takes 80 bytes."""
EMPTY = "nothing was pushed yet"
"""Reason of an ABSENT repository that is there, and empty."""
DISABLED = "enabled: false"
"""Reason of an UNCONFIGURED site that has a `.pages` file."""


class Fault(enum.Enum):
    """Why a repository is not served."""

    ABSENT = "no such repository, or not a public one"
    UNCONFIGURED = "no .pages file, or enabled: false"
    BROKEN = "its .pages file cannot be read"
    TOO_MANY_FILES = "more files than maxSiteFiles"
    TOO_LARGE = "more bytes of paths than maxSiteBytes"
    REFUSED = "Forgejo refuses to show it"
    TROUBLE = "Forgejo gives no answer"


_NO_SITE = frozenset({Fault.ABSENT, Fault.UNCONFIGURED})


Key = tuple[str, str]
"""Owner and name of a repository in lower case, as visitors ask for it: it may have another name by now.

Of a branch other than the default one: `name@branch`, the branch as git has it; no repository's name holds an `@`.
"""

Wanted = tuple[tuple[str, ...], bool]
"""A path that a visitor waits for: its segments, and whether a slash came after them."""


def key_of(owner: str, repository: str, branch: str | None = None) -> Key:
    """Under which key a repository, or one of its branches, is held."""
    name = repository.lower()
    return owner.lower(), name if branch is None else f"{name}@{branch}"


def branch_of(key: Key) -> str | None:
    """The branch that a key names; None for the repository itself, which shows its default branch."""
    _, at, branch = key[1].partition("@")
    return branch if at else None


def repository_of(key: Key) -> Key:
    """The key of the repository itself."""
    return key[0], key[1].partition("@")[0]


class Former(NamedTuple):
    """A commit that was replaced. until: monotonic seconds until which tabs that show it get what they load late."""

    site: Site
    until: float


@dataclass(frozen=True, slots=True)
class Lookup:
    """What is known of a repository.

    looked: monotonic seconds of the last definite answer. modified: the commit's Last-Modified. uses_lfs: a small file
    may be a Git LFS pointer. line, reason: of a broken `.pages`, or DISABLED, or EMPTY. total: files, if too many.
    trouble: why the looks since then brought no answer; failures: how many; retry: monotonic seconds before which none
    is tried.
    added: the hash in Redis that locks the site besides its `.pages`, whatever it is worth; "" where there is none.
    suspect: what other proxies share says something else by now; believed: monotonic seconds until which it would tell.
    former: the last commits that were replaced, the newest first.
    """

    key: Key
    looked: float
    site: Site | None = None
    fault: Fault | None = None
    repository: Repository | None = None
    commit: str | None = None
    modified: float = 0.0
    uses_lfs: bool = True
    line: int | None = None
    reason: str = ""
    total: int = 0
    trouble: ForgejoError | None = None
    failures: int = 0
    retry: float = 0.0
    added: str = field(default="", repr=False)
    suspect: bool = False
    believed: float = math.inf
    former: tuple[Former, ...] = ()

    @property
    def is_site(self) -> bool:
        """Whether the repository decides what its paths mean: served, or refused for a reason of its own."""
        return self.fault not in _NO_SITE

    def after(self, known: Lookup, now: float) -> Lookup:
        """The same with what was there before it. known: what this replaces; now: monotonic seconds."""
        if self.site is None or known.site is None:
            return self
        former = [each for each in known.former if now < each.until and each.site.commit != self.commit]
        if known.site.commit != self.site.commit and len(known.site.tree) <= _LARGEST_FORMER:
            former.insert(0, Former(known.site, now + FORMER_LIFE))
        kept = tuple(former[:_MOST_FORMER])
        return self if kept == self.former else replace(self, former=kept)

    def holds_for(self, repository: Repository, commit: str) -> bool:
        """Whether a look that finds this commit in this repository would come to the same."""
        return (
            self.commit == commit
            and self.fault not in (Fault.REFUSED, Fault.TROUBLE)
            and self.repository is not None
            and (self.repository.id, self.repository.public) == (repository.id, repository.public)
        )

    def doubted(self, now: float) -> bool:
        """Whether what proxies share has to be asked before this is used."""
        return self.suspect or now >= self.believed

    @property
    def told_until(self) -> float:
        """Monotonic seconds until which a change of what proxies share would be told."""
        return -math.inf if self.suspect else self.believed

    def fresh_until(self, ttl: float) -> float:
        """Monotonic seconds until which this may be used without a second thought; ttl: cacheTTL in seconds."""
        if self.trouble is not None:
            return self.retry
        return fresh_until(self.looked, ttl, a_site=self.site is not None)

    def good_until(self, ttl: float) -> float:
        """Monotonic seconds until which an answer that rests on this, and is no "no", needs no new look."""
        return self.retry if self.trouble is not None else self.looked + ttl

    def freshness(self, now: float, ttl: float, stale_ttl: float) -> Freshness:
        """What this is still good for at `now`, doubts aside; ttl: cacheTTL, stale_ttl: how long it may replace one."""
        if now < self.fresh_until(ttl):
            return Freshness.FRESH
        if self.fault is Fault.TROUBLE:
            return Freshness.EXPIRED
        return freshness_after(now - self.looked, ttl, stale_ttl, troubled=self.trouble is not None)

    def troubled(self, trouble: ForgejoError, now: float, stale_ttl: float) -> Lookup:
        """The same with a failed look noted; once it is too old to be served, nothing is left but the trouble."""
        without_frames(trouble)
        if self.fault is Fault.TROUBLE or now - self.looked >= stale_ttl:
            return unknown(self.key, trouble, now)
        pause = pause_after(trouble, self.failures)
        return replace(self, trouble=trouble, failures=self.failures + 1, retry=now + pause)


def unknown(key: Key, trouble: ForgejoError, now: float) -> Lookup:
    """A repository of which nothing is known, for Forgejo gave no answer."""
    without_frames(trouble)
    return Lookup(key, now, fault=Fault.TROUBLE, trouble=trouble, failures=1, retry=now + pause_after(trouble, 0))


class Blob(NamedTuple):
    """A file's bytes, verified against its id. pointer: set where they are a Git LFS pointer."""

    data: bytes
    pointer: LfsPointer | None


class Failure(NamedTuple):
    """Bytes that could not be had, believed until then (monotonic seconds)."""

    error: ForgejoError
    until: float


def without_frames(error: BaseException) -> None:
    """Forget where an error that is kept was raised: its frames hold whole answers."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
