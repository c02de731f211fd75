# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a visitor is told who may not see a site, or not yet: decisions as statuses, headers and pages.

Knows the pages and the decisions, nothing of who makes them. All answers here are the same for every path of a site,
existing or not. The caller adds what pages of our own always have (type, policy, `no-store`) and leaves the body out
for HEAD.
"""

from typing import Literal, NamedTuple

from addon import templates
from addon.access.control import Attempt, Challenge, Decision, Granted, Header, LoggedIn, Open, Reason, Refused, Visit
from addon.access.cookies import cleared
from addon.access.locks import Lock

_ALARMS: dict[Reason, Literal["wrong", "form"] | None] = {
    Reason.UNKNOWN: None,
    Reason.WRONG: "wrong",
    Reason.NO_FORM: "form",
}


class Reply(NamedTuple):
    """An answer of our own; `headers` are those that come with this status."""

    status: int
    headers: tuple[Header, ...]
    page: bytes


def reply(decision: Decision, lock: Lock | None, visit: Visit, duration: int) -> Reply | None:
    """The answer to a decision; None where there is none to give: the site answers (Open, Granted), or nobody yet.

    lock: None where it could not even be read (Refused 403). duration: seconds that a login holds.
    """
    branch = lock is not None and lock.branch is not None
    place = visit.host + visit.base
    match decision:
        case Open() | Granted() | Attempt():
            return None
        case LoggedIn(location, cookies):
            headers = [(b"Location", location.encode("ascii")), *((b"Set-Cookie", cookie) for cookie in cookies)]
            return Reply(303, tuple(headers), b"")
        case Challenge(reason, authenticate):
            page = templates.login(place, branch=branch, alarm=_ALARMS[reason], stay=duration)
            return Reply(401, ((b"WWW-Authenticate", authenticate),), page)
        case Refused(403, _, reason):
            return closed(reason)
        case Refused(status, wait) if wait is not None:
            alarm: Literal["wait", "busy"] = "wait" if status == 429 else "busy"
            page = templates.login(place, branch=branch, alarm=alarm, wait=wait, stay=duration)
            return Reply(status, ((b"Retry-After", b"%d" % wait),), page)
        case Refused(status):
            return Reply(status, (), templates.error_page(status))


def closed(reason: str) -> Reply:
    """The answer for a site whose lock cannot be read. reason: for its owner."""
    return Reply(403, (), templates.password_not_usable(reason))


def logged_out(cookies: bytes | None, secure: bool, host: str, *, members: bool = False) -> Reply:
    """The answer to a request to `/.pages/logout`. cookies: its Cookie header. members: as in `templates.log_out`."""
    headers = tuple((b"Set-Cookie", cookie) for cookie in cleared(cookies, secure))
    return Reply(200, headers, templates.logged_out(host, members=members))
