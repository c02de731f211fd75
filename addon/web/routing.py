# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Host and path → what is asked for. Pure: no network, no memory, no settings but the three names it needs.

A request is normalised here once and never looked at again in its raw form: the host by label (lower case, IDNA, no
port, no trailing dot), the path as decoded segments. A path that had to be cleaned (`//`, `.`, `..`) is answered by a
redirect to its clean form instead of being served, so that no two addresses show one page and relative links hold.
An encoded slash is refused: it can name no file in git, and whoever decodes it later would see another path than we.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from addon.web.content_types import has_known_extension

PROFILE = ".profile"
LONGEST_PATH = 8192
"""Bytes of a path as it is sent: what other servers take, and more than any file of a site needs."""
OWN_PREFIX = ".pages"
"""First path segment that is ours on every host, never site content."""

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# A tab may stand in the name of a file, and so, encoded, in its address.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_UNCLEAN = frozenset({"", ".", ".."})
_PORT = re.compile(r"(?::[0-9]{0,5})?")
# IDNA 2003, which Python has, folds these away; IDNA 2008, which browsers use, keeps them: two different hosts.
_DEVIATIONS = re.compile("[ßςẞ\u200c\u200d]")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
# Forgejo's rules for names (modules/validation, models/repo): what cannot be a name is never asked for. `a--b` and `a_`
# cannot be taken any more, but accounts from before that rule have such names; an A-label is nobody's.
_OWNER = re.compile(r"(?!xn--)(?!.*\.\.)[0-9a-z](?:[-.]*[0-9a-z_])*")
_REPOSITORY = re.compile(r"[-.\w]{1,100}", re.ASCII)
_RESERVED_REPOSITORIES = frozenset({".", "..", "-"})
_RESERVED_ENDINGS = (".git", ".wiki", ".rss", ".atom")

# RFC 3986: what may stand in a path segment unescaped. `;` and `=` are left as they are; a backslash never is.
_SEGMENT_SAFE = "!$&'()*+,;=:@-._~"


@dataclass(frozen=True, slots=True)
class Path:
    """A clean path: decoded segments, none of them empty, `.` or `..`, and whether it ended in a slash."""

    segments: tuple[str, ...]
    slash: bool

    def __str__(self) -> str:
        """The path percent-encoded, beginning with exactly one slash: safe in a Location header."""
        return encode_path(self.segments, self.slash)


class SiteRequest(NamedTuple):
    """A path on `{owner}.{pagesDomain}`; or, with a prefix, one on the pages domain that begins with the owner."""

    owner: str
    path: Path
    prefix: tuple[str, ...] = ()


class PreviewRequest(NamedTuple):
    """A path on a host at or below the domain of previews. label: what stands before that domain, dots and all."""

    label: str
    path: Path


class PagesDomain(NamedTuple):
    """A path on the pages domain itself: the landing page."""

    path: Path


class OwnRequest(NamedTuple):
    """A path below `/.pages/`, on any host."""

    path: Path


class ForgejoRequest(NamedTuple):
    """A request for Forgejo's own public host, passed through untouched."""


class OtherHost(NamedTuple):
    """A host that is neither the pages domain, below it, nor Forgejo's: a custom domain or a stranger."""

    host: str
    path: Path


class CleanPath(NamedTuple):
    """The path had to be cleaned; the visitor is sent to the clean one (query kept by the caller)."""

    location: str


class Refusal(NamedTuple):
    """The request cannot be understood safely. `reason` is for the visitor."""

    status: int
    reason: str


Route = SiteRequest | PreviewRequest | PagesDomain | OwnRequest | ForgejoRequest | OtherHost | CleanPath | Refusal


class Candidate(NamedTuple):
    """A repository that may answer, the path within its site, and the path segments that named it."""

    repository: str
    segments: tuple[str, ...]
    base: tuple[str, ...]


def host_name(authority: str) -> str | None:
    """The normalised host of a Host header or `:authority`: lower case, A-labels, no port, no trailing dot.

    None when it is not one host: empty, a list, with user name, with a malformed port or label, or with letters that
    name one host to IDNA 2003 and another to browsers. An IPv6 address keeps its brackets, in its shortest form.
    """
    host = authority.strip(" \t")
    if host.startswith("["):
        address, _, port = host[1:].partition("]")
        if "%" in address or not host.endswith(f"]{port}") or not _PORT.fullmatch(port):
            return None
        try:
            return f"[{ipaddress.IPv6Address(address).compressed}]"
        except ValueError:
            return None
    host, _, port = host.partition(":")
    if port and not _PORT.fullmatch(f":{port}"):
        return None
    if not host.isascii():
        # Before the codec, whose time grows with the square of the length.
        if len(host) > 253 or _DEVIATIONS.search(host):
            return None
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    host = host.removesuffix(".").lower()
    if len(host) > 253 or not host or not all(map(_LABEL.fullmatch, host.split("."))):
        return None
    return host


def owner_of(host: str, pages_domain: str) -> str | None:
    """The owner in `{owner}.{pagesDomain}`, matched by label; None for any other host."""
    suffix = f".{pages_domain}"
    return host.removesuffix(suffix) if host.endswith(suffix) and len(host) > len(suffix) else None


def owns(authority: str | None, pages_domain: str) -> str | None:
    """The normalised host, if it is the pages domain or an owner's below it; else None."""
    host = host_name(authority) if authority else None
    if host is None or host == pages_domain:
        return host
    owner = owner_of(host, pages_domain)
    return host if owner is not None and is_owner_name(owner) else None


def is_owner_name(name: str) -> bool:
    """Whether Forgejo could have a user or organisation of this (lower-case) name."""
    return len(name) <= 100 and _OWNER.fullmatch(name) is not None


def is_repository_name(name: str) -> bool:
    """Whether Forgejo could have a repository of this name."""
    return (
        _REPOSITORY.fullmatch(name) is not None
        and name not in _RESERVED_REPOSITORIES
        and not name.lower().endswith(_RESERVED_ENDINGS)
    )


def encode_path(segments: tuple[str, ...], slash: bool) -> str:
    """Segments as a percent-encoded absolute path; never begins with `//`, never holds a backslash."""
    if not segments:
        return "/"
    joined = "/".join(segments)
    if joined.count("/") < len(segments):
        encoded = quote(joined, safe=f"{_SEGMENT_SAFE}/")
    else:  # a segment with a slash of its own
        encoded = "/".join(quote(segment, safe=_SEGMENT_SAFE) for segment in segments)
    return f"/{encoded}/" if slash else f"/{encoded}"


def parse_path(raw: str) -> Path | CleanPath | Refusal:
    """A raw request path (without query) as clean segments, a redirect to its clean form, or a refusal.

    raw: as it came; bytes that are no UTF-8 as surrogate escapes. Percent-decoding happens once. A byte that is no
    UTF-8 becomes U+FFFD, each by itself: that is how Forgejo lists such a file (Go's encoding/json).
    """
    if len(raw) > LONGEST_PATH:
        return Refusal(414, f"The path is longer than {LONGEST_PATH} bytes.")
    try:
        data = raw.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return Refusal(400, "The path holds a character that does not exist.")
    if not data.startswith(b"/"):
        return Refusal(400, "The path has to begin with a slash.")
    if b"#" in data or b"\\" in data or b"\t" in data:
        return Refusal(400, "The path holds a character that has to be percent-encoded.")
    if b"%" in data:
        if _BAD_ESCAPE.search(data):
            return Refusal(400, "The path holds a percent sign that begins no escape.")
        if b"%2f" in data or b"%2F" in data:
            return Refusal(400, "The path holds an encoded slash.")
        data = unquote_to_bytes(data)
    # Each look is one at the whole path, for it may have thousands of parts.
    if _CONTROL.search(data):
        return Refusal(400, "The path holds a control character.")
    text = data.decode("utf-8", "surrogateescape")
    if not data.isascii():
        text = _ESCAPED_BYTE.sub("\ufffd", text)
    parts = text.split("/")
    slash = parts[-1] in ("", ".", "..")
    segments = parts[1:-1] if parts[-1] == "" else parts[1:]
    cleaned = not _UNCLEAN.isdisjoint(segments)
    if cleaned:
        kept: list[str] = []
        for segment in segments:
            if segment == "..":
                if not kept:
                    return Refusal(400, "The path leads above the root.")
                kept.pop()
            elif segment not in _UNCLEAN:
                kept.append(segment)
        segments = kept
    path = Path(tuple(segments), slash or not segments)
    return CleanPath(str(path)) if cleaned else path


def route(
    host: str | None,
    raw_path: str,
    *,
    pages_domain: str,
    forgejo_host: str | None,
    by_path: bool = False,
    preview_domain: str | None = None,
) -> Route:
    """What a request is for.

    by_path: owners are named by the first part of a path on the pages domain, and have no hosts of their own.

    host: the Host header as it came (None: there was none). raw_path: the request target up to the first `?`.
    pages_domain, forgejo_host, preview_domain: normalised host names; without a forgejo_host nothing passes through.
    """
    name = host_name(host) if host else None
    if name is None:
        return Refusal(400, "Invalid request format: the request has to name exactly one host.")
    if forgejo_host is not None and name == forgejo_host:
        # Forgejo's paths are its own affair: only what is certainly ours is taken out of them.
        if raw_path == f"/{OWN_PREFIX}" or raw_path.startswith(f"/{OWN_PREFIX}/"):
            path = parse_path(raw_path)
            return OwnRequest(path) if isinstance(path, Path) else path
        return ForgejoRequest()
    path = parse_path(raw_path)
    if not isinstance(path, Path):
        return path
    if path.segments and path.segments[0] == OWN_PREFIX:
        return OwnRequest(path)
    if preview_domain is not None and name != pages_domain:
        label = "" if name == preview_domain else owner_of(name, preview_domain)
        if label is not None:
            return PreviewRequest(label, path)
    if name == pages_domain:
        return (_owner_by_path(path) if by_path else None) or PagesDomain(path)
    owner = owner_of(name, pages_domain)
    if owner is not None and not by_path:
        return SiteRequest(owner, path)
    return OtherHost(name, path)


def _owner_by_path(path: Path) -> SiteRequest | None:
    """The owner that a path on the pages domain begins with; a single part with a dot is a file of the operator's."""
    segments = path.segments
    if not segments or not is_owner_name(segments[0].lower()):
        return None
    if len(segments) == 1 and not path.slash and "." in segments[0]:
        return None
    return SiteRequest(segments[0].lower(), Path(segments[1:], path.slash), segments[:1])


def candidates(path: Path, profiles: Sequence[str] = (PROFILE,)) -> tuple[Candidate, ...]:
    """The repositories that may answer a path on an owner's host, the first that is a site deciding.

    `/blog/…` is repository `blog`; where that is no site, the profile's folder `blog`. A single segment that looks like
    a file (`/about.html`) is the profile's, and only then a repository of that name. profiles: names of the repository
    that is the owner's root; of those, too, the first that is a site decides.
    """
    segments = path.segments
    roots = tuple(Candidate(name, segments, ()) for name in profiles)
    if not segments or segments[0] == OWN_PREFIX or not is_repository_name(segments[0]):
        return roots
    first = segments[0]
    repository = Candidate(first, segments[1:], segments[:1])
    if first.lower() in (name.lower() for name in profiles):
        return (repository,)
    if len(segments) == 1 and not path.slash and "." in first:
        return (*roots, repository)
    return (repository, *roots)


def profile_decides(path: Path) -> bool:
    """Whether a profile site that lacks this path settles it, without a look for a repository of that name.

    True for one segment with the extension of a web file: otherwise each missing `/favicon.ico` asked Forgejo.
    """
    return len(path.segments) == 1 and not path.slash and has_known_extension(path.segments[0])
