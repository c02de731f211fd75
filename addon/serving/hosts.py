# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The first step: whose a host is. `Hosts.host` sends a request on to a site, or answers what belongs to no site.

Here end: what has no valid host or path, a challenge of an authority, who came by the wrong scheme or to the twin of a
domain, a path that is not written as it should be, what lies below `/.pages/`, and hosts that nobody registered.
"""

import logging
from collections.abc import Awaitable

from addon import templates
from addon.access import login
from addon.access.control import is_foreign
from addon.domains.store import NO_ANSWER
from addon.forgejo.errors import Overloaded
from addon.serving import acme_challenges
from addon.serving.acme_challenges import Challenges
from addon.serving.answers import (
    Answer,
    Need,
    Request,
    Work,
    answer_to_method,
    because,
    options,
    own_not_found,
    own_page,
    plain_text,
    redirect,
    reply_answer,
    trouble_page,
)
from addon.serving.error_pages import ErrorPages
from addon.serving.host_redirects import to_https, to_twin
from addon.serving.mappings import Mappings
from addon.serving.member_login import CALLBACK, LOGIN, MemberLogin
from addon.serving.preview_hosts import PreviewHosts
from addon.serving.site_page import JSON, PAGE
from addon.serving.sites import Sites
from addon.settings.schema import Settings
from addon.shared.domain_mappings import Mapping
from addon.web.request_head import asks_anew
from addon.web.routing import (
    CleanPath,
    ForgejoRequest,
    OtherHost,
    OwnRequest,
    PagesDomain,
    Path,
    PreviewRequest,
    Refusal,
    Route,
    SiteRequest,
    host_name,
    owner_of,
    owns,
    route,
)

logger = logging.getLogger(__name__)

LOGOUT = ("logout",)
"""Path below `/.pages/` that forgets a login."""


class Hosts:
    """Whose hosts are."""

    def __init__(
        self,
        settings: Settings,
        mappings: Mappings,
        challenges: Challenges | None,
        sites: Sites,
        errors: ErrorPages,
        login: MemberLogin | None = None,
        previews: PreviewHosts | None = None,
    ) -> None:
        """challenges, login: None makes them 404. previews: None where there are none."""
        self._settings = settings
        self._mappings = mappings
        self._challenges = challenges
        self._sites = sites
        self._errors = errors
        self._login = login
        self._previews = previews

    def route(self, host: str | None, path: str) -> Route:
        """What host and path alone say."""
        settings = self._settings
        return route(
            host,
            path,
            pages_domain=settings.pages_domain,
            forgejo_host=settings.forgejo_public_host,
            by_path=settings.address_style == "path",
            preview_domain=None if self._previews is None else settings.preview_domain,
        )

    def host(self, request: Request, work: Work) -> Answer | Need:
        """What a request gets."""
        if request.method == "OPTIONS" and request.path == "*":  # RFC 9110 §9.3.7: about the server as such
            return options(request)
        work.anew = asks_anew(request.header(b"cache-control") or b"")
        target = self.route(request.host, request.path)
        if work.steps is not None:
            work.steps.host(request.host, target)
        if isinstance(target, Refusal):
            return own_page(request, target.status, templates.error_page(target.status, message=target.reason))
        if isinstance(target, ForgejoRequest):
            raise RuntimeError("a request for Forgejo came to the pages")
        if (
            isinstance(target, SiteRequest | OtherHost | PagesDomain | PreviewRequest)
            and target.path.segments[:2] == acme_challenges.PREFIX
        ):
            return self._challenge(request, target.path, work)
        elif isinstance(target, OwnRequest) and target.path.segments in (PAGE, JSON):
            target = self._of_site(request, target)
        if isinstance(target, PreviewRequest) and self._previews is not None:
            secure = to_https(request, host_name(request.host or ""), self._settings.redirect_https)
            return secure or self._previews.answer(request, target, work)
        if isinstance(target, OtherHost):
            return self._domain(request, target, work)
        if not isinstance(target, OwnRequest):
            upgrade = to_https(request, owns(request.host, self._settings.pages_domain), self._settings.redirect_https)
            if upgrade is not None:
                if work.steps is not None:
                    work.steps.say("https", "redirectHTTPS: who comes by plain HTTP is sent to HTTPS")
                return upgrade
        if isinstance(target, PreviewRequest):
            raise RuntimeError("a request for a preview came to the sites")
        if isinstance(target, SiteRequest):
            return self._sites.site_of_owner(request, target, work)
        if isinstance(target, OwnRequest) and target.path.segments[1:] == LOGOUT and request.method == "POST":
            return self._log_out(request, work)
        if isinstance(target, OwnRequest) and self._login is not None and target.path.segments[1:] in (LOGIN, CALLBACK):
            host = self._host_of_login(request)
            if host is not None:
                return self._login.answer(request, host, target.path.segments[1:] == CALLBACK, work)
        unread = answer_to_method(request)
        if unread is not None:
            return unread
        if isinstance(target, CleanPath):
            return redirect(request, target.location)
        if isinstance(target, OwnRequest):
            if target.path.segments[1:] == LOGOUT:
                page = templates.log_out(request.host or "", members=self._login is not None)
                return own_page(request, 200, page)
            return own_not_found(request, str(target.path))
        return self._sites.site_of_operator(request, target.path, work)

    def _of_site(self, request: Request, target: OwnRequest) -> OwnRequest | OtherHost | SiteRequest | PreviewRequest:
        """Whose report is asked for: that of the site at the host's root."""
        host, domain = host_name(request.host or "") or "", self._settings.pages_domain
        if host in (domain, self._settings.forgejo_public_host):
            return target
        previews = self._settings.preview_domain
        if self._previews is not None and previews is not None and (label := owner_of(host, previews)) is not None:
            return PreviewRequest(label, target.path)
        owner = owner_of(host, domain)
        if owner is None:
            return OtherHost(host, target.path)
        return target if self._settings.address_style == "path" else SiteRequest(owner, target.path)

    def _host_of_login(self, request: Request) -> str | None:
        """The host of a request below `/.pages/login`, if it is the pages domain or can be a site's."""
        host, domain = host_name(request.host or ""), self._settings.pages_domain
        if host is None or host == self._settings.forgejo_public_host:
            return None
        below = owner_of(host, domain) is not None
        return host if host == domain or not below or owns(host, domain) is not None else None

    def _log_out(self, request: Request, work: Work) -> Answer | Need:
        """End the logins that the browser shows: by our button, which no page of somebody else's can press."""
        host = request.host or ""
        if is_foreign(request.header, host):
            return own_page(request, 403, templates.error_page(403, host=host))
        members = self._login is not None
        cookies, secure = request.header(b"cookie"), request.visitor().secure
        answer = reply_answer(request, login.logged_out(cookies, secure, host, members=members))
        if self._login is not None:
            gone = self._login.log_out(request, host_name(host) or "", work)
            if isinstance(gone, Need):
                return gone
            answer.headers += gone
        return answer

    def _domain(self, request: Request, target: OtherHost, work: Work) -> Answer | Need:
        """A domain of a site, or of one of its branches; else its twin (with or without `www.`), else a stranger."""
        host, path = target
        if self._mappings.domains is None:
            return self._errors.error(request, 400, work, message=templates.INVALID_DOMAIN, host=host)
        found = self._mappings.mapping(host, work)
        if isinstance(found, Need):
            return found
        if work.steps is not None:
            work.steps.domain(host, found)
        if isinstance(found, Mapping):
            return to_https(request, host, self._settings.redirect_https) or self._sites.site_of_domain(
                request, host, path, found, work
            )
        twin = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
        sought = found is None and _may_be_domain(twin)
        other = self._mappings.mapping(twin, work, seek=False) if sought else None
        if isinstance(other, Need):
            return other
        if sought and work.steps is not None:
            work.steps.domain(twin, other)
        if isinstance(other, Mapping) and other.branch is None:
            return to_https(request, twin, self._settings.redirect_https) or to_twin(request, twin)
        if found is NO_ANSWER or other is NO_ANSWER:
            answer = trouble_page(request, Overloaded("it is not known whose domain this is"))
            return because(answer, "redis", "Redis does not say whose domain this is")
        hint = (
            f"Is it yours? Then write `custom_domain: {host}` into the file `.pages` of your site’s default branch,"
            f" push, and open the site at its address below `{self._settings.pages_domain}` once."
        )
        return self._errors.error(request, 404, work, message=templates.DOMAIN_NOT_CONFIGURED, hint=hint, host=host)

    def _challenge(self, request: Request, path: Path, work: Work) -> Answer | Need:
        """Only the operator's ACME client may answer for a host of ours."""
        unread = answer_to_method(request)
        if unread is not None:
            return unread
        asked, host = self._challenges, host_name(request.host or "")
        key = ("challenge", host, path)
        if asked is not None and host is not None and key not in work.done:
            return Need(key, lambda: _told_or_trouble(asked.answer(host, path.segments)), from_forgejo=False)
        text = work.done.get(key)
        if isinstance(text, bytes):
            return plain_text(request, text)
        if isinstance(text, Exception):
            return own_page(request, 502, templates.error_page(502))
        return own_page(request, 404, templates.error_page(404, path=str(path)))


async def _told_or_trouble(answer: Awaitable[bytes | None]) -> bytes | Exception | None:
    try:
        return await answer
    except acme_challenges.TransportError as trouble:
        logger.warning("acmeChallengeUpstream: %s", trouble)
        return trouble


def _may_be_domain(host: str) -> bool:
    """Whether a host could be registered: an address never is, nor is a name without a dot."""
    return "." in host and not host.startswith("[") and not host.rpartition(".")[2].isdecimal()
