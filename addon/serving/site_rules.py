# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a site's own rules make of a path: redirects, other pages, single-page apps, the page for what is missing.

Rules count below the site, wherever it lies, and are applied once: a page that a rule shows is looked for among the
files, not among the rules. The surprise: who asks for a script, a picture or a style that is missing gets a 404, even
where a rule shows a page for all that is missing; a page in its place would be the harder fault to find.
"""

from collections.abc import Callable

from addon.serving.answers import ERROR_PAGE_PATIENCE, REDIRECT_LIFE, Answer, Need, Request
from addon.serving.files import Files
from addon.serving.locks import SitePath
from addon.serving.site_headers import NONE, SiteHeaders, site_headers
from addon.settings.schema import Settings
from addon.sites.redirect_table import REDIRECTS, Ruled, location
from addon.sites.site import File, ToFolder
from addon.web.content_types import has_known_extension
from addon.web.routing import Path, encode_path, host_name, owner_of, owns, parse_path

_PAGES = frozenset({b"document", b"iframe", b"frame", b"embed", b"object", b"fencedframe"})
_PERMANENT = frozenset({301, 308})
_DEPENDS = (b"Vary", b"Sec-Fetch-Dest")
_MOST_RULES = 8
"""Rules that are tried for one request, where those before them say nothing of it after all."""


class SiteRules:
    """The rules of sites, applied."""

    def __init__(self, settings: Settings, files: Files) -> None:
        self._pages_domain = settings.pages_domain
        self._preview_domain = settings.preview_domain
        self._files = files

    def headers(self, at: SitePath) -> SiteHeaders:
        """What `_headers` says of a path in a site."""
        rules = at.entered.site.rules.headers
        if not rules:
            return NONE
        request, _, segments, path, work = at
        host = (host_name(request.host or "") or "") if rules.hosts else ""
        added = rules.added(segments, path.slash, host)
        if work.steps is not None:
            work.steps.headers(rules, added)
        if not added.depends:
            return site_headers(added, base="/", own_domain=False)
        previews = self._preview_domain
        previewed = previews is not None and owner_of(host_name(request.host or "") or "", previews) is not None
        own_domain = owns(request.host, self._pages_domain) is None and not previewed
        return site_headers(added, base=encode_path(at.base, True), own_domain=own_domain)

    def before_files(self, at: SitePath) -> Answer | Need | int | None:
        """What a rule says that goes before files: an answer, or the status of an error page; None for nothing."""
        return self._ruled(at, missing=False) if at.entered.site.rules.forced else None

    def not_found(self, at: SitePath) -> Answer | Need | int:
        """What a path gets that the site has no file for: what a rule says, or the app's page, or the 404 page.

        A number is the status of an error page that is not the site's.
        """
        site, work = at.entered.site, at.work
        found = self._ruled(at, missing=True) if site.rules else None
        if found is not None and not isinstance(found, int):
            return found
        status = 404 if found is None else found
        if found is None and site.pages_file.spa:
            index = site.page("index.html")
            if index is not None and _asks_for_a_page(at.request, at.segments):
                if work.steps is not None:
                    work.steps.say("rule", "`spa: true` in .pages: index.html for what is missing", verdict="applied")
                return self._page(at, index, 200, depends=True)
        page = site.error_page(status, at.segments)
        if page is None:
            return status
        if work.steps is not None:
            work.steps.say("error page", f"the site's own {page.path}", whose="site", file=page.path)
        return self._soon(self._page(at, page, status, depends=site.pages_file.spa), status)

    def _ruled(self, at: SitePath, *, missing: bool) -> Answer | Need | int | None:
        request, (_, site), segments, path, work = at
        line = 0
        host = host_name(request.host or "") or ""
        for _ in range(_MOST_RULES):
            ruled = site.rules.redirects.find(segments, path.slash, request.query, host, _secure(request), after=line)
            if ruled is None or not (missing or ruled.force):
                return None
            line = ruled.line
            if ruled.status in REDIRECTS:
                to = location(ruled, encode_path(at.base, False).rstrip("/"), request.query)
                itself = _is_itself(request, path, host, to)
                if work.steps is not None:
                    work.steps.rule(site, ruled, "passed over, for it leads to itself" if itself else "applied")
                if not itself:
                    return _redirected(request, ruled.status, to)
            elif not ruled.fallback or _asks_for_a_page(request, segments):
                if work.steps is not None:
                    work.steps.rule(site, ruled, "applied")
                return self._shown(at, ruled)
            elif work.steps is not None:
                work.steps.rule(site, ruled, "passed over, for what is asked for is no page")
        return None

    def _shown(self, at: SitePath, ruled: Ruled) -> Answer | Need | int:
        """Another page under this address; its status where the site has no such page."""
        missing = 404 if ruled.status == 200 else ruled.status
        target = parse_path(ruled.to)
        if not isinstance(target, Path):
            return missing
        site = at.entered.site
        outcome = site.outcome(target.segments, target.slash)
        if isinstance(outcome, ToFolder):
            outcome = site.outcome(target.segments, True)
        if not isinstance(outcome, File):
            return missing
        answer = self._page(at, outcome, ruled.status, depends=ruled.fallback)
        return answer if ruled.status == 200 else self._soon(answer, ruled.status)

    def _soon(self, answer: Answer | Need, status: int) -> Answer | Need | int:
        """A page for an error, which nobody waits for as long as for what they asked for."""
        if isinstance(answer, Need):
            return answer._replace(patience=ERROR_PAGE_PATIENCE)
        return answer if answer.status == status else status

    def _page(self, at: SitePath, file: File, status: int, *, depends: bool) -> Answer | Need:
        """A file under an address that is not its own. depends: another kind of request would get something else."""
        said = self.headers(at)
        if depends:
            said = said._replace(fields=(*said.fields, _DEPENDS), key=f"{said.key}~")
        return self._files.file(at.request, *at.entered, file, status, at.work, said)


def _secure(request: Request) -> Callable[[], bool | None]:
    def secure() -> bool | None:
        visitor = request.visitor()
        return None if visitor.unclear else visitor.secure

    return secure


def _asks_for_a_page(request: Request, segments: tuple[str, ...]) -> bool:
    """Whether a browser will show what it gets as a page, as far as it says so; else whether the name could be one."""
    wants = request.header(b"sec-fetch-dest")
    if wants is not None and wants != b"empty":
        return wants in _PAGES
    name = segments[-1] if segments else ""
    return name.lower().endswith((".html", ".htm")) or not has_known_extension(name)


def _is_itself(request: Request, path: Path, host: str, to: str) -> bool:
    """Whether a redirect leads to where the visitor is."""
    scheme, colon, rest = to.partition("://")
    if colon and not to.startswith("/"):
        there, slash, rest = rest.partition("/")
        if there != host:
            return False
        to = slash + rest
    else:
        scheme = ""
    query = "" if request.query is None else f"?{request.query}"
    if to.partition("#")[0] != f"{path}{query}":
        return False
    return not scheme or scheme == ("https" if request.visitor().secure else "http")


def _redirected(request: Request, status: int, to: str) -> Answer:
    """A redirect of a site's own. What is permanent, browsers forget in a minute: its owner may think again."""
    life = b"public, max-age=%d" % REDIRECT_LIFE if status in _PERMANENT else b"no-cache"
    headers = [
        (b"Location", to.encode("ascii")),
        (b"Cache-Control", life),
        (b"Content-Length", b"0"),
        (b"Access-Control-Allow-Origin", b"*"),
    ]
    return Answer(status, headers)
