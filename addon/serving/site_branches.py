# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Where a site's files are: on the default branch, on the one that `.pages` names, or on one that needs no `.pages`.

What governs a site is the default branch's `.pages`, wherever its files are. Where there is none, and the operator has
named branches for that (`pagesBranches`), the first of them that a public repository has is a site as it lies there.
The surprise: a `.pages` on such a branch is an error, not a setting; whoever wrote a password there has to be told that
it locks nothing.
"""

from dataclasses import replace
from typing import NamedTuple

from addon.serving.answers import Need, Work
from addon.serving.locks import Entered
from addon.serving.repositories import Repositories
from addon.settings.schema import Settings
from addon.shared.lookup import DISABLED, Fault, Lookup, Wanted, key_of, repository_of
from addon.sites.site import Site


class Shown(NamedTuple):
    """A site as it is shown. lookup: of its files, or of what is wrong; governing: the site whose `.pages` says how.

    fault: why it is not shown.
    """

    lookup: Lookup
    governing: Site | None
    fault: Fault | None

    def entered(self, passed: Entered) -> Entered | None:
        """What a visitor has entered who passed the lock; None where the branch is not there."""
        return passed if self.lookup is passed.lookup else passed.at(self.lookup)


class SiteBranches:
    """Where sites' files are."""

    def __init__(self, settings: Settings, repositories: Repositories) -> None:
        self._branches = settings.pages_branches
        self._repositories = repositories

    def shown(
        self, lookup: Lookup, wanted: Wanted | None, work: Work, doubts: list[Need], branch: str | None = None
    ) -> Shown | Need | None:
        """The site of a repository; None where it is none. branch: that of a branch's host, which needs no other."""
        if not lookup.is_site:
            return self._without_pages(lookup, wanted, work, doubts)
        governing, repository = lookup.site, lookup.repository
        if lookup.fault is not None or governing is None or repository is None or branch is not None:
            return Shown(lookup, governing, lookup.fault)
        named = governing.pages_file.shown_branch(repository.default_branch)
        if named is None:
            return Shown(lookup, governing, None)
        there = self.branch(lookup, named, governing.pages_file.prefix, wanted, work, doubts)
        if isinstance(there, Need):
            return there
        if there.site is None and there.is_site:
            return Shown(there, governing, there.fault)
        return Shown(there, governing, None)

    def branch(
        self, lookup: Lookup, name: str, prefix: str, wanted: Wanted | None, work: Work, doubts: list[Need]
    ) -> Lookup | Need:
        """What is known of a branch, with its files where they are to be by now: that may have changed."""
        key = key_of(*repository_of(lookup.key), name)
        there = self._repositories.lookup(key, wanted, work, doubts)
        if isinstance(there, Need) or there.site is None or there.site.prefix == prefix:
            return there
        moved = ("moved", *key)
        return there if moved in work.done else Need(moved, lambda: self._repositories.look(key, wanted))

    def _without_pages(
        self, lookup: Lookup, wanted: Wanted | None, work: Work, doubts: list[Need]
    ) -> Shown | Need | None:
        repository = lookup.repository
        if lookup.fault is not Fault.UNCONFIGURED or lookup.reason == DISABLED:
            return None
        if repository is None or not repository.public:
            return None
        for name in self._branches:
            there = self.branch(lookup, name, "", wanted, work, doubts)
            if isinstance(there, Need):
                return there
            if there.site is None and not there.is_site:
                continue
            if there.site is not None and there.fault is Fault.UNCONFIGURED and there.reason != DISABLED:
                return Shown(there, there.site, None)
            if there.site is not None:
                reason = (
                    f"it has to be on the default branch, {repository.default_branch}, and say `branch: {name}` there"
                )
                there = replace(there, fault=Fault.BROKEN, line=None, reason=reason)
            return Shown(there, there.site, there.fault)
        return None
