# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The third step: the lock of a site. Nothing of a site is served but to who comes through `Locks.lock`.

Whether there is a lock is said by the default branch's `.pages` and by what was added in Redis; who may pass, by
`access`, and of sites for members by `members.py`: who has to be one and to know a password needs both. Here end: the
login page, what a password that was sent gets, and a locked site in another case.
"""

import math
from dataclasses import replace
from typing import NamedTuple

from addon import templates
from addon.access import login
from addon.access.control import Access, AccessFault, Attempt, Granted, Open, Visit, lock_of
from addon.serving.answers import Answer, Need, Request, Work, own_page, redirect, reply_answer
from addon.serving.members import Hidden, Members
from addon.shared.lookup import Lookup
from addon.sites.site import Site
from addon.web.routing import Path, encode_path


class Entered(NamedTuple):
    """A site whose lock, if any, this request has passed; whatever serves a site asks for one. Made here alone."""

    lookup: Lookup
    site: Site

    def at(self, branch: Lookup) -> "Entered | None":
        """The same visitor at a branch of the repository, which the same rules govern; None where it has no site."""
        site = branch.site
        return Entered(branch, replace(site, pages_file=self.site.pages_file)) if site is not None else None


class SitePath(NamedTuple):
    """A path in a site that was entered. segments: below the site; path: all of it, with what names the site."""

    request: Request
    entered: Entered
    segments: tuple[str, ...]
    path: Path
    work: Work

    @property
    def base(self) -> tuple[str, ...]:
        """What stands before it: the segments that name the site."""
        return self.path.segments[: len(self.path.segments) - len(self.segments)]


def entered_by_all(lookup: Lookup) -> Entered | None:
    """The operator's site, for pages that anybody may see; a locked one is of no use for that."""
    site = lookup.site
    if site is None or site.pages_file.password or site.pages_file.members or lookup.added:
        return None
    return Entered(lookup, site)


class Locks:
    """The check of who may see a site."""

    def __init__(self, access: Access, members: Members | None = None) -> None:
        """members: None closes sites that are for members to everybody."""
        self._access = access
        self._members = members

    def lock(
        self,
        request: Request,
        lookup: Lookup,
        site: Site,
        base: tuple[str, ...],
        path: Path,
        work: Work,
        branch: str | None = None,
    ) -> Entered | Answer | Need | Hidden:
        """A site to who may see it; else what they are told, or that nothing is there.

        base: the path segments that named the repository; none on a domain of its own. Cookies bear its name as Forgejo
        writes it, and paths count by case, so a locked site in another case is left by a redirect before anybody is
        asked. branch: that of a branch's host, which is governed by `site`, too.
        """
        rules = site.pages_file
        if rules.members and (branch is None or not rules.branches_password):
            work.locked = True
            if work.steps is not None:
                work.steps.say("lock", "members: only who may read the repository", locked=True, by=["access: members"])
                work.steps.comes_from((b"Cache-Control", b"Vary"), "the lock: for who is logged in alone")
            if self._members is None:
                return own_page(request, 403, templates.members_not_set_up())
            stopped = self._members.check(request, lookup, path, work)
            if stopped is not None:
                return stopped
        if not (rules.password or lookup.added) and (branch is None or not rules.branches_password):
            if work.steps is not None and not work.locked:
                work.steps.say("lock", "none: anybody may see it", locked=False)
            return Entered(lookup, site)
        work.locked = True
        if work.steps is not None:
            where = [".pages"] if rules.password else []
            where += ["Redis"] if lookup.added else []
            where += [".pages (branchesPassword)"] if branch is not None and rules.branches_password else []
            work.steps.say("lock", f"a password, by {' and '.join(where)}", locked=True, by=where)
            work.steps.comes_from((b"Cache-Control", b"Vary"), "the lock: for who is logged in alone")
        if base and base[0] != site.name and base[0].lower() == site.name.lower():
            return redirect(request, encode_path((site.name, *path.segments[1:]), path.slash))
        try:
            lock = lock_of(site.owner, site.name, rules.password, rules.branches_password, branch, lookup.added)
        except AccessFault as fault:
            if work.steps is not None:
                work.steps.say("visitor", f"nobody may pass: {fault.reason}", passed=False)
            return reply_answer(request, login.closed(fault.reason))
        # Most of all visits; who they are by, nobody has to know.
        until = 0.0
        if lock and request.method != "POST":
            until = self._access.logged_in(lock, request.header, secure=True)
            if not until and _is_plain_http(request):
                until = self._access.logged_in(lock, request.header, secure=False)
                work.plain_http = until > 0
        if until:
            work.by_cookie = True
            work.good_until = min(work.good_until, until)
            if work.steps is not None:
                work.steps.say("visitor", "is logged in, by a cookie", passed=True)
            return Entered(lookup, site)
        work.good_until = -math.inf
        visitor = request.visitor()
        visit = Visit(
            request.method,
            request.header,
            visitor.address,
            visitor.secure,
            request.host or "",
            encode_path(base, True),
            str(path),
            request.query,
            request.body,
        )
        decision = self._access.check(lock, visit)
        if isinstance(decision, Attempt) and lock is not None:
            attempt, key = decision, ("attempt", decision.key)
            if key not in work.done:
                return Need(key, lambda: self._access.settle(lock, visit, attempt), from_forgejo=False)
            decision = work.done[key]  # type: ignore[assignment]  # what `settle` gave
        reply = login.reply(decision, lock, visit, self._access.duration)
        if work.steps is not None:
            work.steps.say("visitor", type(decision).__name__.lower(), passed=reply is None)
        if reply is not None:
            return reply_answer(request, reply)
        if not isinstance(decision, Open | Granted):
            raise RuntimeError(f"an undecided request at the lock of {lookup.key}")
        return Entered(lookup, site)


def _is_plain_http(request: Request) -> bool:
    """Whether a visitor surely came without TLS: not to us, and nobody in front says anything else."""
    header = request.header
    return not request.tls and header(b"x-forwarded-proto") is None and header(b"forwarded") is None
