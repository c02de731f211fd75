# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Pages for what cannot be served: the site's own, the operator's, or ours, in this order.

A path that a site does not have, a repository that is none, a site that is broken. A visitor waits for somebody else's
page for `ERROR_PAGE_PATIENCE` at most, then gets ours.
"""

from addon import templates
from addon.serving.answers import ERROR_PAGE_PATIENCE, Answer, Need, Request, Work, because, own_page, trouble_page
from addon.serving.files import Files
from addon.serving.locks import Entered, entered_by_all
from addon.serving.repositories import Repositories
from addon.settings.schema import Settings
from addon.shared.lookup import Fault, Key, Lookup
from addon.sites.site import INDEX, Site
from addon.web.routing import Path, encode_path, host_name

_REASONS = {
    templates.REPOSITORY_NOT_FOUND: "no site",
    templates.FILE_NOT_FOUND: "no file",
    templates.DOMAIN_NOT_CONFIGURED: "no domain",
    templates.INVALID_DOMAIN: "no domain",
}


class ErrorPages:
    """Pages for what cannot be served."""

    def __init__(self, settings: Settings, operators: Key | None, repositories: Repositories, files: Files) -> None:
        """operators: the errorPagesRepo."""
        self._settings = settings
        self._operators = operators
        self._repositories = repositories
        self._files = files

    def missing(
        self,
        request: Request,
        entered: Entered,
        path: Path,
        work: Work,
        status: int = 404,
        *,
        root: tuple[str, ...] | None = None,
    ) -> Answer | Need:
        """A path that a site does not have, nor a page of its own for that: the operator's, else ours.

        root: the segments of the site's root on this host, where that is another page than this.
        """
        hint = None
        if status != 404:
            return self.error(request, status, work, path=path)
        if not len(entered.site.tree):
            hint = _why_nothing(entered.site)
        elif path.slash and len(path.segments) <= 1 and entered.site.page(INDEX) is None:
            where = f"`{entered.site.prefix}`" if entered.site.prefix else "this repository"
            hint = f"There is no `{INDEX}` in {where}: that is the page that is shown here."
        host, home = host_name(request.host or "") or "", None
        if root is not None and entered.site.page(INDEX) is not None:
            home = encode_path(root, True)
        return self.error(
            request, 404, work, message=templates.FILE_NOT_FOUND, hint=hint, host=host, path=path, home=home
        )

    def error(
        self,
        request: Request,
        status: int,
        work: Work,
        *,
        message: str | None = None,
        hint: str | None = None,
        host: str = "",
        path: Path | None = None,
        home: str | None = None,
    ) -> Answer | Need:
        """An error page: the operator's `{status}.html`, else ours. home: the path of the site's root."""
        operators = self._operators
        if operators is not None:
            lookup = self._repositories.lookup(operators, ((f"{status}.html",), False), work, [], ERROR_PAGE_PATIENCE)
            if isinstance(lookup, Need):
                return lookup
            entered = entered_by_all(lookup)
            if entered is not None:
                answer = self._error_file(request, entered, status, work)
                if answer is not None:
                    if isinstance(answer, Answer):
                        because(answer, _REASONS.get(message or "", ""))
                    if work.steps is not None:
                        work.steps.say("error page", f"the operator's {status}.html", whose="operator", status=status)
                    return answer
        if work.steps is not None:
            says = ", ".join(filter(None, ["this server's own page", message, hint]))
            work.steps.say("error page", says, whose="server", status=status)
        shown = "/" + "/".join(path.segments) if path is not None else ""
        page = templates.error_page(status, message=message, hint=hint, host=host, path=shown, home=home)
        return because(own_page(request, status, page), _REASONS.get(message or "", ""))

    def _error_file(self, request: Request, entered: Entered, status: int, work: Work) -> Answer | Need | None:
        """A site's `{status}.html`; None where it has none, or none that can be had soon."""
        lookup, site = entered
        page = site.page(f"{status}.html")
        if page is None:
            return None
        answer = self._files.file(request, lookup, site, page, status, work)
        if isinstance(answer, Need):
            return answer._replace(patience=ERROR_PAGE_PATIENCE)
        return answer if answer.status == status else None

    def faulty(self, request: Request, lookup: Lookup, name: str, work: Work) -> Answer | Need:
        match lookup.fault:
            case Fault.BROKEN:
                page = templates.broken_pages_file(f"{name}/.pages", lookup.line, lookup.reason)
                detail = f"{name}/.pages, line {lookup.line or 1}: {lookup.reason}"
                return because(own_page(request, 500, page), "broken site", detail)
            case Fault.TOO_MANY_FILES:
                page = templates.too_many_files(lookup.total, self._settings.max_site_files)
                return because(own_page(request, 500, page), "broken site", Fault.TOO_MANY_FILES.value)
            case Fault.TOO_LARGE:
                page = templates.too_many_bytes(self._settings.max_site_bytes)
                return because(own_page(request, 500, page), "broken site", Fault.TOO_LARGE.value)
            case Fault.REFUSED:
                return self.error(request, 403, work)
            case _:
                return trouble_page(request, lookup.trouble)


def _why_nothing(site: Site) -> str:
    """What the owner of a site without files is told."""
    for note in site.notes:
        if note.file == site.prefix:
            return f"{note.reason[0].upper()}{note.reason[1:]}. {note.remedy[0].upper()}{note.remedy[1:]}."
    where = f"no files below `{site.prefix}`: that folder is" if site.prefix else "no files: they are"
    return f"This repository has {where} what is served."
