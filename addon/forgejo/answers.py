# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What Forgejo's answers mean: JSON to typed values, each field checked before anything believes it.

Pure functions over bytes; knows no network. Whatever does not fit raises BadAnswer in our own words, never the forge's.
The surprise: a redirect is never followed as it stands. Only the two new names are taken out of it and the request is
made anew, so that no answer can send us, or the token, anywhere but to the repository routes of the same forge.
"""

from __future__ import annotations

import enum
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from addon.forgejo.errors import BadAnswer, ForgejoError, NotFound, RateLimited, Refused, ServerTrouble
from addon.net.http_client import Origin, origin_of

# Owners have at most 40 characters and repositories 100; federated owners start with @, and old accounts break today's
# rules. So this is what may stand in a path, not what may be registered.
_NAME = re.compile(r"[0-9A-Za-z_.@-][0-9A-Za-z_.@-]{0,99}\Z")
_ID_LENGTHS = {"sha1": 40, "sha256": 64}
_ID = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
# git check-ref-format, and no segment that a server on the way could resolve as `.` or `..`.
_BAD_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\\ud800-\udfff]|\.\.|@\{|//|(?:^|/)\.|^/|/$|\.$|\.lock(?:/|$)|^-")
_MODES = {"100644": 0o100644, "100664": 0o100644, "100755": 0o100755, "120000": 0o120000}
_SUBMODULE = "160000"
MODE_SUBMODULE = 0o160000
_DROPPED = {"040000": "tree", _SUBMODULE: "commit"}
# Forgejo walks the whole tree for each page, so there is an end to how many we ask for.
_MAX_PAGES = 2000
_REPLACEMENT = "\ufffd"


class Access(enum.Enum):
    """How a repository was readable."""

    ANONYMOUS = "anonymous"
    TOKEN = "token"


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as Forgejo describes it; owner and name in their own case, after renames.

    public: anybody may read it (not private, not internal, owner visible to all). updated_at: seconds since 1970.
    root_host: the host of Forgejo's ROOT_URL, with which its links begin; empty where nobody said it.
    """

    owner: str
    name: str
    id: int
    default_branch: str
    empty: bool
    public: bool
    archived: bool
    object_format: str
    updated_at: float | None
    access: Access
    root_host: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch's newest commit; timestamp is its author date in seconds since 1970. access: how it was read."""

    name: str
    commit: str
    timestamp: float | None
    access: Access


class TreeEntry(NamedTuple):
    """A file, symbolic link or submodule of a tree: mode as git's octal number, id of the blob, size in bytes."""

    path: str
    mode: int
    id: str
    size: int


class Tree(NamedTuple):
    """All files and links of a commit; total counts folders and submodules too."""

    commit: str
    entries: list[TreeEntry]
    total: int


class TreePage(NamedTuple):
    """One page of a tree: how many rows it had, those that are files or links, and how many rows there are in all.

    nbytes: characters of all paths on it.
    """

    rows: int
    entries: list[TreeEntry]
    total: int
    nbytes: int

    @property
    def pages(self) -> int:
        """How many pages there are, told by the first of them."""
        return -(-self.total // self.rows) if self.rows else 1


def is_name(name: str) -> bool:
    """Whether an owner or repository of this name may be asked for."""
    return _NAME.match(name) is not None and name not in (".", "..")


def is_branch(name: str) -> bool:
    """Whether git allows a branch of this name (git check-ref-format)."""
    return bool(name) and len(name) <= 1024 and _BAD_BRANCH.search(name) is None


def is_id(value: object) -> bool:
    """Whether this is a full object id, SHA-1 or SHA-256, in lower-case hexadecimals."""
    return type(value) is str and _ID.match(value) is not None


def quoted(path: str) -> str:
    """A path percent-encoded segment by segment."""
    return quote(path, safe="/")


def document(body: bytes) -> Any:
    """The JSON document of an answer; BadAnswer where it is none, nests too deeply or names numbers JSON has not."""
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadAnswer("Forgejo's answer is not JSON") from None


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _object(body: bytes, what: str) -> dict[str, Any]:
    value = document(body)
    if type(value) is not dict:
        raise BadAnswer(f"{what}: expected a JSON object")
    return value


def text(fields: dict[str, Any], key: str, what: str) -> str:
    """A field that must be a string."""
    value = fields.get(key)
    if type(value) is not str:
        raise BadAnswer(f"{what}: {key} is not a string")
    return value


def _flag(fields: dict[str, Any], key: str, what: str, default: bool | None = None) -> bool:
    value = fields.get(key, default)
    if type(value) is not bool:
        raise BadAnswer(f"{what}: {key} is neither true nor false")
    return value


def count(fields: dict[str, Any], key: str, what: str) -> int:
    """A field that must be a whole number from 0, such as a size in bytes."""
    value = fields.get(key)
    if type(value) is not int or not 0 <= value < 2**63:
        raise BadAnswer(f"{what}: {key} is not a number that can be")
    return value


def moment(value: object) -> float | None:
    """Seconds since 1970 of an RFC 3339 time; None where there is none (Go's zero time is the year 1)."""
    if type(value) is not str:
        return None
    try:
        seconds = datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return seconds if seconds > 0 else None


def public_names(body: bytes, owner: str) -> list[str]:
    """The names of the repositories in a list of `/users/{owner}/repos` that are the owner's and public."""
    listed = document(body)
    if type(listed) is not list:
        raise BadAnswer(f"repositories of {owner}: not a list")
    found = []
    for each in listed:
        name = each.get("name") if type(each) is dict else None
        if type(name) is str and is_name(name) and each.get("private") is False and each.get("empty") is not True:
            found.append(name)
    return found


def repository(body: bytes, owner: str, name: str, access: Access) -> Repository:
    """The repository in a 200 of `/repos/{owner}/{name}`. Its visibility must be told unless anybody just read it."""
    what = f"repository {owner}/{name}"
    fields = _object(body, what)
    holder = fields.get("owner")
    if type(holder) is not dict:
        raise BadAnswer(f"{what}: owner is not an object")
    login = text(holder, "login", what)
    own_name = text(fields, "name", what)
    if (login.lower(), own_name.lower()) != (owner.lower(), name.lower()):
        raise BadAnswer(f"{what}: the answer is about another repository")
    object_format = fields.get("object_format_name") or "sha1"
    if type(object_format) is not str or object_format not in _ID_LENGTHS:
        raise BadAnswer(f"{what}: an object format that git has not")
    visibility = holder.get("visibility", "public" if access is Access.ANONYMOUS else None)
    private = _flag(fields, "private", what)
    internal = _flag(fields, "internal", what, False)
    return Repository(
        owner=login,
        name=own_name,
        id=count(fields, "id", what),
        default_branch=text(fields, "default_branch", what),
        empty=_flag(fields, "empty", what),
        public=not private and not internal and visibility == "public",
        archived=_flag(fields, "archived", what, False),
        object_format=object_format,
        updated_at=moment(fields.get("updated_at")),
        access=access,
        root_host=_root_host(fields.get("html_url")),
    )


def _root_host(html_url: object) -> str:
    """The host of a link to the forge itself, in lower case; empty where it is none."""
    try:
        return (urlsplit(html_url).hostname or "") if type(html_url) is str else ""
    except ValueError:
        return ""


def branch(body: bytes, asked: str, object_format: str, access: Access) -> Branch:
    """The branch in a 200 of `/branches/{branch}`."""
    what = "branch"
    fields = _object(body, what)
    commit = fields.get("commit")
    if text(fields, "name", what) != asked:
        raise BadAnswer("branch: the answer is about another branch")
    if type(commit) is not dict or not _is_id_of(commit.get("id"), object_format):
        raise BadAnswer("branch: no commit id")
    return Branch(asked, commit["id"], moment(commit.get("timestamp")), access)


def _is_id_of(value: object, object_format: str) -> bool:
    return type(value) is str and len(value) == _ID_LENGTHS[object_format] and _ID.match(value) is not None


def tree_page(body: bytes, commit: str, page: int, seen: set[str], first: TreePage | None = None) -> TreePage:
    """One page of `/git/trees/{commit}?recursive=true`, checked against the first (None: this is it).

    seen: the paths of the pages before; grows. Twice the same path is a lie (a page that repeats), except where a path
    has U+FFFD in it: Forgejo puts that in the place of what is no UTF-8, so different names may come out alike; of
    those the first is kept.
    """
    fields = _object(body, "tree")
    if fields.get("sha") != commit:
        raise BadAnswer("tree: the answer is about another commit")
    if fields.get("page", page) != page:
        raise BadAnswer("tree: the answer is another page")
    total = count(fields, "total_count", "tree")
    rows = fields.get("tree")
    if rows is None:
        rows = []
    if type(rows) is not list:
        raise BadAnswer("tree: expected a list of entries")
    if first is None:
        fits = 0 < len(rows) <= total or len(rows) == total
    else:
        fits = total == first.total and len(rows) == min(first.rows, total - first.rows * (page - 1))
    if not fits:
        raise BadAnswer("tree: not as many entries as it says")
    if first is None and total > len(rows) * _MAX_PAGES:
        raise BadAnswer("tree: in more pages than anybody should ask for")
    entries: list[TreeEntry] = []
    id_length, nbytes = len(commit), 0
    for row in rows:
        if type(row) is not dict:
            raise BadAnswer("tree: an entry is not an object")
        path, mode, blob = row.get("path"), row.get("mode"), row.get("sha")
        if type(path) is not str or not is_path(path):
            raise BadAnswer("tree: an entry has a path that no file can have")
        if type(mode) is not str or type(blob) is not str or len(blob) != id_length or not _ID.match(blob):
            raise BadAnswer("tree: an entry has no mode or no id")
        nbytes += len(path)
        if path in seen:
            if _REPLACEMENT in path:
                continue
            raise BadAnswer("tree: a path comes twice")
        seen.add(path)
        if mode in _DROPPED:
            if row.get("type") != _DROPPED[mode]:
                raise BadAnswer("tree: an entry's type and mode disagree")
            if mode == _SUBMODULE:
                entries.append(TreeEntry(path, MODE_SUBMODULE, blob, 0))
            continue
        size = row.get("size")
        if mode not in _MODES or row.get("type") != "blob":
            raise BadAnswer("tree: an entry of a kind that git has not")
        if type(size) is not int or not 0 <= size < 2**63:
            raise BadAnswer("tree: an entry's size is not a number that can be")
        entries.append(TreeEntry(path, _MODES[mode], blob, size))
    return TreePage(len(rows), entries, total, nbytes)


def is_path(path: str) -> bool:
    """Whether a file in a tree may have this path: no empty, `.` or `..` segment, no NUL, no half of a character."""
    if not path or "\0" in path or len(path) > 4096 * 4:
        return False
    # The slow way only for the few that look as if.
    suspect = path[0] in "/." or path[-1] == "/" or "/." in path or "//" in path
    if suspect and any(segment in ("", ".", "..") for segment in path.split("/")):
        return False
    return path.isascii() or not any("\ud800" <= character <= "\udfff" for character in path)


def moved_to(location: str | None, origin: Origin, base_path: str, marker: str) -> tuple[str, str]:
    """Owner and name out of the Location of a renamed repository.

    marker: the path before them: `/api/v1/repos/`, or `/` for the web routes, below the forge's `base_path`. Before
    that of the API, Forgejo may name a path that we do not see, when its ROOT_URL has one that a proxy takes off.
    BadAnswer for anything that leads elsewhere: other hosts, schemes, paths outside the repository routes.
    """
    path = same_origin_path(location, origin).partition("?")[0]
    if path.startswith(base_path + marker):
        rest = path[len(base_path + marker) :]
    elif marker != "/":
        before, _, rest = path.partition(marker)
        if not re.fullmatch(r"(?:/[0-9A-Za-z_~-][0-9A-Za-z_.~-]*)*", before):
            rest = ""
    else:
        rest = ""
    parts = rest.split("/")
    if not rest or (marker == "/" and parts[2:3] != ["raw"]):
        raise BadAnswer("Forgejo redirects out of its repositories")
    names = [unquote(part) for part in parts[:2]]
    if len(names) != 2 or not all(map(is_name, names)):
        raise BadAnswer("Forgejo redirects to a repository that cannot be")
    return names[0], names[1]


def same_origin_path(location: str | None, origin: Origin) -> str:
    """Path and query of a Location that stays on `origin`; BadAnswer for one that does not."""
    target = absolute(location, origin)
    if target is None:
        raise BadAnswer("Forgejo redirects to what is no address")
    if target[0] != origin:
        raise BadAnswer("Forgejo redirects to another host: does forgejoHost name it as it names itself?")
    return target[1]


def absolute(location: str | None, base: Origin) -> tuple[Origin, str] | None:
    """Origin and target of a Location; None where it is no http(s) address or holds credentials."""
    if location is None or not re.fullmatch(r"[!-~]+", location) or "\\" in location:
        return None
    try:
        url = urljoin(f"{base.scheme}://{base.authority}/", location)
        parts = urlsplit(url)
        return origin_of(url), (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    except ValueError:
        return None


def is_json(content_type: str | None) -> bool:
    """Whether a Content-Type says JSON."""
    return content_type is not None and content_type.partition(";")[0].strip().lower() == "application/json"


def is_own_error(content_type: str | None, body: bytes) -> bool:
    """Whether this is the body of an error that Forgejo's API itself made: JSON with a message."""
    if not is_json(content_type):
        return False
    try:
        value = document(body)
    except BadAnswer:
        return False
    return type(value) is dict and "message" in value


def is_no_route(content_type: str | None, body: bytes) -> bool:
    """Whether this 404 says that the server has no such route: plain text, not JSON."""
    return (content_type or "").startswith("text/plain") and body.startswith(b"404 page not found")


def trouble(what: str, status: int, content_type: str | None, retry_after: str | None, body: bytes) -> ForgejoError:
    """The error that an answer other than the wanted one stands for."""
    if status == 404 and is_own_error(content_type, body):
        return NotFound(f"{what}: not found")
    if status in (401, 403) and is_json(content_type):
        return Refused(f"{what}: Forgejo answered {status}")
    if status == 429:
        return RateLimited(f"{what}: Forgejo answered 429", retry_after=seconds(retry_after))
    if status >= 500:
        return ServerTrouble(f"{what}: Forgejo answered {status}")
    return BadAnswer(f"{what}: Forgejo answered {status}, which is no answer of its API")


def seconds(retry_after: str | None) -> int:
    """Retry-After in seconds, as a number or a date (RFC 9110 §10.2.3): 1 to 3600, 1 where it says nothing."""
    if retry_after is None:
        return 1
    said = retry_after.strip()
    if re.fullmatch(r"[0-9]{1,9}", said):
        return min(max(int(said), 1), 3600)
    try:
        wait = parsedate_to_datetime(said).replace(tzinfo=UTC) - datetime.now(UTC)
    except (ValueError, OverflowError):
        return 1
    return min(max(round(wait.total_seconds()), 1), 3600)
