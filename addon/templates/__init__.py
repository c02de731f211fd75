# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""The HTML that people see and that is ours: error pages, the listing, the landing page, the login.

Each function takes plain values and returns a whole page as UTF-8 bytes; it knows no request, no network and no clock.
Templates are compiled once, when this package is imported, always escape, and fail on a name that was not given.
There is no script anywhere and one style sheet, inline, so that the Content-Security-Policy can forbid everything but
that sheet's hash. The surprising decision: `finalize` makes invisible and direction-changing characters visible in
every value that any template prints, so that no template can forget to.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from addon.templates.error_messages import (
    DOMAIN_NOT_CONFIGURED,
    FILE_NOT_FOUND,
    INVALID_DOMAIN,
    INVALID_REQUEST,
    REPOSITORY_NOT_FOUND,
    error_message,
    time_text,
)
from addon.templates.names import natural_order, relative_reference, size_text, visible_text

__all__ = [
    "DOMAIN_NOT_CONFIGURED",
    "FILE_NOT_FOUND",
    "INVALID_DOMAIN",
    "INVALID_REQUEST",
    "REPOSITORY_NOT_FOUND",
    "ListingEntry",
    "broken_pages_file",
    "content_security_policy",
    "error_page",
    "https_only",
    "landing",
    "listing",
    "logged_out",
    "login",
    "login_failed",
    "members_log_in",
    "members_not_set_up",
    "members_unknown",
    "password_not_usable",
    "redirects_are_read",
    "site_report",
    "status",
    "too_many_bytes",
    "too_many_files",
]

_HERE = Path(__file__).parent
_SHOWN_PATH = 160  # characters of a visitor's path that an error page repeats
_SHOWN_DETAILS = 20  # lines


Sort = Literal["name", "-name", "size", "-size"]


class ListingEntry(NamedTuple):
    """One row of a directory listing; `size` in bytes, None where it says nothing (folders, links)."""

    name: str
    kind: Literal["dir", "file", "link"]
    size: int | None


def _shown(value: object) -> object:
    """What Jinja prints for a value; text that is no markup becomes visible, everything is escaped afterwards."""
    return visible_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _with_code(text: str) -> Markup:
    """Text in which what stands between two backticks is code; an odd backtick stands for itself."""
    parts = visible_text(text).split("`")
    if len(parts) % 2 == 0:
        parts[-2:] = ["`".join(parts[-2:])]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def _at_dots(host: str) -> Markup:
    """A host name that is broken at its dots where it does not fit, before it is anywhere else."""
    return Markup(".<wbr>").join(escape(visible_text(label)) for label in host.split("."))


def _stylesheet(name: str) -> Markup:
    """A style sheet as it stands in the pages: comments and line breaks removed, nothing else touched."""
    text = (_HERE / name).read_text("utf-8")
    return Markup(re.sub(r"\s*\n\s*", "", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)))


_STYLE, _STATUS_STYLE = _stylesheet("style.css"), _stylesheet("status.css")
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_HERE),
    autoescape=True,
    undefined=StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=_shown,
)
_ENVIRONMENT.filters.update(with_code=_with_code, at_dots=_at_dots, reference=relative_reference, size=size_text)
_ENVIRONMENT.globals.update(style=_STYLE, status_style=_STATUS_STYLE)
_ERROR = _ENVIRONMENT.get_template("error.html")
_LISTING = _ENVIRONMENT.get_template("listing.html")
_LOGIN = _ENVIRONMENT.get_template("login.html")
_LOG_OUT = _ENVIRONMENT.get_template("log_out.html")
_LANDING = _ENVIRONMENT.get_template("landing.html")
_STATUS = _ENVIRONMENT.get_template("status.html")
_SITE_REPORT = _ENVIRONMENT.get_template("site_report.html")


def _policy(*styles: str) -> str:
    digests = (base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() for style in styles)
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; style-src {sources}; "
        "img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


_POLICY, _STATUS_POLICY = _policy(_STYLE), _policy(_STYLE, _STATUS_STYLE)


def content_security_policy(*, status: bool = False) -> str:
    """The value of `Content-Security-Policy` for every page of this package (CSP level 3); status: the operator's."""
    return _STATUS_POLICY if status else _POLICY


def error_page(
    status: int,
    *,
    title: str | None = None,
    message: str | None = None,
    hint: str | None = None,
    detail: Sequence[str] = (),
    host: str = "",
    path: str = "",
    home: str | None = None,
    link: tuple[str, str] | None = None,
) -> bytes:
    """A calm page for any status; what is not given is said in the words of `error_messages`.

    `message` speaks to the visitor, `hint` to the site's owner (backticks mean code), `detail` are lines to be copied,
    such as DNS records. `host` and `path` (decoded) say what was asked for. `home`, a path beginning with one slash,
    is offered as the way out; `link` is another one, an address (a path, or https) and its words.
    """
    return _ERROR.render(
        status=status,
        words=error_message(status, title, message, hint),
        detail=[line for line in detail if line][:_SHOWN_DETAILS],
        host=host,
        path=path if len(path) <= _SHOWN_PATH else f"{path[:_SHOWN_PATH]}…",
        home=home if home is not None and re.match(r"/(?![/\\])[!-~]*\Z", home) else None,
        link=link if link is not None and re.match(r"(?:https:/)?/(?![/\\])[!-~]*\Z", link[0]) else None,
    ).encode()


def broken_pages_file(path: str, line: int | None, reason: str) -> bytes:
    """The page of status 500 for a site whose `.pages` cannot be read: where and why, never what the line says.

    `path` names the file (`alice/blog/.pages`), `line` counts from 1, `reason` is a sentence of ours.
    """
    place = f"Line {line} of `{path}`" if line is not None else f"`{path}`"
    return error_page(
        500,
        title="This site’s settings cannot be read",
        message="The site is here, but its owner has to correct a file before it can be shown."
        " Nothing is wrong on your side.",
        hint=f"{place} was refused: {reason.rstrip('.')}. As soon as a corrected file is pushed, the site is back.",
    )


def too_many_files(count: int, limit: int) -> bytes:
    """The page of status 500 for a site of more files than `maxSiteFiles` allows; both numbers count files."""
    return error_page(
        500,
        title="This site is too large",
        message="It has more files than this server publishes in one site. Nothing is wrong on your side.",
        hint=f"The repository has {count:,} files, and at most {limit:,} are served. Fewer files, or several"
        " repositories, help; the administrator of this server can raise `maxSiteFiles`.",
    )


def too_many_bytes(limit: int) -> bytes:
    """The page of status 500 for a site whose paths take more bytes than `maxSiteBytes` allows."""
    return error_page(
        500,
        title="This site is too large",
        message="The names of its files are longer than this server publishes in one site."
        " Nothing is wrong on your side.",
        hint=f"All paths of the repository together may take {size_text(limit)}, and one of them 4 KiB. Fewer files,"
        " shorter names of folders, or several repositories, help; the administrator of this server can raise"
        " `maxSiteBytes`.",
    )


def password_not_usable(reason: str) -> bytes:
    """The page of status 403 for a site whose `.pages` names a password that nothing can be compared with."""
    return error_page(
        403,
        title="This site is closed",
        message="It is protected by a password, but what its settings say about it cannot be used, so nobody is let in."
        " Nothing is wrong on your side.",
        hint=f"In `.pages`, {reason.rstrip('.')}. As soon as a corrected file is pushed, visitors are asked again.",
    )


def login(
    place: str,
    *,
    branch: bool = False,
    alarm: Literal["wrong", "form", "wait", "busy"] | None = None,
    wait: int = 0,
    stay: int = 0,
) -> bytes:
    """The page that asks for a site's password, in a form of one field, `password`, sent to its own address.

    `place` is the site as people know it (`alice.pages.example.org/blog/`). `branch`: it is a branch's preview. `alarm`
    says why the password is asked for again; `wait` for how many seconds the next try is refused. `stay`: how many
    seconds a login holds; 0 says nothing about it.
    """
    return _LOGIN.render(
        place=place,
        branch=branch,
        alarm=alarm,
        wait=time_text(wait) if wait > 0 else None,
        stay=time_text(stay) if stay > 0 else None,
    ).encode()


def members_not_set_up() -> bytes:
    """The page of status 403 for a site that only members may read, where the server cannot tell who is one."""
    return error_page(
        403,
        title="This site is closed",
        message="It is only shown to those who may read its repository, and this server cannot tell who that is."
        " Nothing is wrong on your side.",
        hint="`access: members` in `.pages` needs a login by Forgejo, and the administrator of this server has not set"
        " `oauthClientId` and `oauthClientSecret`.",
    )


def members_log_in(link: str, *, failed: bool = False) -> bytes:
    """The page of status 401 for a site that only members may read. failed: a login has just been of no use."""
    return error_page(
        401,
        title="For members only",
        message="You have just logged in, and this browser shows no sign of it. Perhaps it keeps no cookies, or Forgejo"
        " has ended the login again."
        if failed
        else "This site is only shown to those who may read its repository in Forgejo.",
        link=(link, "Log in with Forgejo"),
    )


def members_unknown() -> bytes:
    """The page of status 503 where Forgejo does not say whether somebody may read a repository."""
    return error_page(
        503,
        title="Forgejo does not answer",
        message="This site is only shown to those who may read its repository, and at the moment Forgejo does not say"
        " whether you may. Nothing is wrong on your side. Please try again in a moment.",
    )


def login_failed(status: int, reason: str, *, remedy: str = "", link: str | None = None) -> bytes:
    """The page after a login at Forgejo that led to nothing. link: where the visitor can begin again."""
    return error_page(
        status,
        title="You are not logged in",
        message=f"{reason} {remedy}".strip(),
        link=None if link is None else (link, "Try again"),
    )


def https_only(address: str) -> bytes:
    """The page of status 403 for who comes to a site for members by plain HTTP."""
    return error_page(
        403,
        title="Only by HTTPS",
        message="This site is only shown to those who may read its repository, and a login must not travel in the"
        " clear.",
        link=(address, "Open it by HTTPS"),
    )


def log_out(host: str, *, members: bool = False) -> bytes:
    """The page of `/.pages/logout`: a button, for a link that anybody can set must log nobody out.

    members: sites here may know visitors by Forgejo, so that there is a log-out from all of them.
    """
    return _LOG_OUT.render(place=host, members=members).encode()


def logged_out(host: str, *, members: bool = False) -> bytes:
    """The page of status 200 after a log-out. members: as in `log_out`."""
    of_forgejo = ", and who you are in Forgejo" if members else ""
    still = (
        " Who is still logged in at Forgejo is let in again without being asked: log out there, too, where others use"
        " this browser."
        if members
        else ""
    )
    return error_page(
        200,
        title="You are logged out",
        message=f"This browser has forgotten the passwords that were given to the sites at this address{of_forgejo}."
        f" Pages that are still open can be seen until they are closed.{still}",
        host=host,
    )


def redirects_are_read(base: str) -> bytes:
    """The page of status 200 at `/LOAD_REDIRECTS`; `base` is the site's path, ending in a slash."""
    return error_page(
        200,
        title="Nothing has to be loaded here",
        message="The redirects of this site are read with it, at each push, and are in force already.",
        hint=f"`{base}.pages/site` tells which rules there are, and what is wrong with those that are not.",
    )


def in_order(entries: Iterable[ListingEntry], sort: Sort = "name") -> list[ListingEntry]:
    """Folders first, then everything else, in the natural order of names or by size; `-size`: the largest first."""
    found = sorted(entries, key=lambda entry: natural_order(entry.name), reverse=sort == "-name")
    if sort in ("size", "-size"):
        found.sort(key=lambda entry: -1 if entry.size is None else entry.size, reverse=sort == "-size")
    found.sort(key=lambda entry: entry.kind != "dir")
    return found


_MOST_ABOVE = 32
"""Folders above a listed one that are named: each takes as many `../` as it is far."""


def listing(
    title_path: str,
    breadcrumbs: Sequence[str],
    entries: Iterable[ListingEntry],
    *,
    parent: bool,
    host: str = "",
    page: int = 1,
    pages: int = 1,
    total: int = 0,
    sort: Sort = "name",
    modified: float | None = None,
) -> bytes:
    """The listing of a folder, as `in_order` has it.

    page, pages: which of how many this is, each at the query `page=…`; total: rows on all of them. sort: at the query
    `sort=…`. modified: of the site, in seconds since 1970. A tree has no dates of its files.

    `title_path` is the folder's decoded path (`/blog/pictures/`). `breadcrumbs` are the labels of the folders from the
    site's root to this one; their links are relative, so the page must stand at an address that ends with a slash.
    `parent` offers the folder above.
    """
    rows = in_order(entries, sort)
    crumbs = list(breadcrumbs) or ["/"]
    folders = sum(entry.kind == "dir" for entry in rows)
    near = crumbs[:-1][-_MOST_ABOVE:]
    above = [("../" * (len(near) - place), label) for place, label in enumerate(near)]
    return _LISTING.render(
        title_path=title_path,
        ancestors=above,
        current=crumbs[-1],
        rows=rows,
        sort=sort,
        query="?" if sort == "name" else f"?sort={sort}&",
        changed=None if modified is None else datetime.fromtimestamp(int(modified), UTC),
        folders=folders,
        files=len(rows) - folders,
        parent=parent,
        host=host,
        page=page,
        pages=pages,
        total=total,
    ).encode()


def landing(pages_domain: str, forgejo_url: str | None, *, sites: Sequence[str] = ()) -> bytes:
    """The front page of the pages domain: what this is and how to publish, with this server's real names.

    `sites`: addresses of sites to be linked, those of a preview.
    `forgejo_url` is the address at which people reach Forgejo; only `http` and `https` become a link, and never with
    the user name or password that a URL may carry.
    """
    return _LANDING.render(domain=pages_domain, forgejo=_public_address(forgejo_url), sites=sites).encode()


class StatusPage(NamedTuple):
    """What the operator's page shows, in words. components, sites, domains, errors: rows by the names in the template.

    headline: how all is, in a sentence; worst: the same for the window's title; at: when. still: it is not asked for
    again by itself; every: else, after so many seconds. sections: numbers by title.
    """

    headline: str
    worst: str
    place: str
    at: str
    every: int
    still: bool
    components: Sequence[Mapping[str, str]]
    sites: Sequence[Mapping[str, object]]
    domains: Sequence[Mapping[str, object]]
    errors: Sequence[Mapping[str, object]]
    sections: Sequence[tuple[str, Sequence[tuple[str, str]]]]


def status(page: StatusPage) -> bytes:
    """The operator's page."""
    return _STATUS.render(**page._asdict()).encode()


PREVIEWS = "Previews"
"""The title of the section that lists previews."""


def site_report(
    name: str,
    place: str,
    sections: Sequence[tuple[str, Sequence[tuple[str, str]]]],
    findings: Sequence[tuple[str, str, str]],
) -> bytes:
    """What a site's owner should know: sections of labelled lines, and findings (where, what, what to do).

    Text between backticks is shown as code; in the section PREVIEWS, values are addresses to go to. `place` is the
    site's address.
    """
    shown = [(where, what, f"{do[:1].upper()}{do[1:]}") for where, what, do in findings]
    return _SITE_REPORT.render(name=name, place=place, sections=sections, findings=shown, linked=PREVIEWS).encode()


def _public_address(url: str | None) -> tuple[str, str] | None:
    """(link, name) of an address: without credentials, query and fragment; None for what no browser should open."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    name = parts.netloc.rpartition("@")[2]
    if parts.scheme not in ("http", "https") or not name:
        return None
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{name}{path}/", f"{name}{path}"
