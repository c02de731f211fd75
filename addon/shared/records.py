# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What stands in Redis: the names of our keys, and the JSON that is their values. Pure.

Three kinds of record make a `Lookup`: the repository (who may read it, which branch counts), the ref (the branch's
commit) and the contents of that commit. Whatever is read was written by anybody, so every field is checked before it
is believed: `Broken` is dropped and replaced. The surprise: a record of another version is `Foreign`, a miss that is
left alone, because old and new proxies share a Redis while they are being replaced.
"""

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from addon.forgejo.answers import Access, Repository, is_branch, is_id, is_name, is_path
from addon.shared.lookup import Fault, Key, Lookup, branch_of, repository_of
from addon.sites import rules as rule_files
from addon.sites.findings import Finding
from addon.sites.links import Links
from addon.sites.pages_file import PagesFile
from addon.sites.rules import Rules
from addon.sites.site import Site
from addon.sites.tree import MODE_EXECUTABLE, MODE_LINK, Tree

VERSION = 1
SITE_VERSION = 3
"""Of what a commit is: since 2 with its rule files and where its files lie, since 3 with whom its `.pages` keeps it
for: a proxy of before would pass that over."""
PREFIX = "~pages:"
REF, REPOSITORY, EPOCH = f"{PREFIX}ref:", f"{PREFIX}repo:", f"{PREFIX}epoch:"
PASSWORD = "password:"
"""As the Traefik plugin names it: `password:{owner}:{repository}`."""
MUTABLE = (REF, REPOSITORY, EPOCH, PASSWORD)
"""What may change under its name, so that its changes have to be told."""
STORED = frozenset({None, Fault.UNCONFIGURED, Fault.BROKEN})
"""What a commit says, whoever reads it; other faults follow from settings, access or the moment."""
_MODES = frozenset({0o100644, MODE_EXECUTABLE, MODE_LINK})
_LARGEST = 2**63
_MOST_PLUGIN_RULES = 100_000
_LONGEST_LIFE = 10 * 365 * 86400.0


class Broken(ValueError):
    """What was read cannot be ours: no JSON, or not what such a record holds."""


class Outdated(Broken):
    """What was read is an older version's record of something that does not change: it is replaced."""


class Foreign(Exception):
    """What was read has another version: none of our business."""


def repository_key(key: Key) -> str:
    return f"{REPOSITORY}{key[0]}/{key[1]}"


def ref_key(key: Key, default: str) -> str:
    """Where the commit of a branch is; default: that which counts where the key names none."""
    owner, repository = repository_of(key)
    return f"{REF}{owner}/{repository}@{branch_of(key) or default}"


def epoch_key(key: Key | None) -> str:
    """Where a repository's epoch is, which is that of its branches; None: that of everything."""
    return EPOCH if key is None else "{}{}/{}".format(EPOCH, *repository_of(key))


def password_key(owner: str, repository: str) -> str:
    """Where a password's hash may stand that locks a site besides its `.pages`."""
    return f"{PASSWORD}{owner.lower()}:{repository}"


def password_place(repository: Repository) -> Key:
    """Owner and name under which a repository's password stands, whatever name it was asked for by."""
    return repository.owner.lower(), repository.name


def told_password_key(owner: str, repository: str, *, clustered: bool) -> str:
    """Where stands what we wrote as a password ourselves: the same value at both places is no lock of somebody's.

    clustered: in the slot of that other key, so that one script may change both.
    """
    there = password_key(owner, repository)
    return f"{PREFIX}{{{there}}}" if clustered else f"{PREFIX}{there}"


def lock_key(key: Key) -> str:
    return f"{PREFIX}lock:{key[0]}/{key[1]}"


def site_key(key: Key, commit: str) -> str:
    """Where the contents of a commit are, which are the same on every branch."""
    return "{}site:{}/{}@{}".format(PREFIX, *repository_of(key), commit)


def blob_key(blob_id: str) -> str:
    return f"{PREFIX}blob:{blob_id}"


def object_key(key: Key, oid: str) -> str:
    return "{}lfs:{}/{}:{}".format(PREFIX, *repository_of(key), oid)


def subject_of_key(name: bytes) -> tuple[str, Key | None] | None:
    """Which kind of mutable key this is (its prefix), and whose; a key of None is everybody's. None: not ours.

    Whose a ref is depends on which branch is the default one: it is told of the branch.
    """
    text = name.decode("utf-8", "replace")
    for prefix in MUTABLE:
        if text.startswith(prefix):
            rest = text[len(prefix) :]
            if not rest and prefix == EPOCH:
                return prefix, None
            owner, slash, repository = rest.partition(":" if prefix == PASSWORD else "/")
            if prefix == PASSWORD:  # in whatever case it was written
                owner, repository = owner.lower(), repository.lower()
            return (prefix, (owner, repository)) if slash else None
    return None


class RepositoryRecord(NamedTuple):
    """A repository as a look found it. fault: ABSENT or REFUSED. commit: a hint only, the ref decides.

    epoch: that under which the look began; None in a record made by hand, which belongs to any. life: seconds that the
    key was given; None where its age cannot be told. at: seconds since 1970 when it was written.
    """

    repository: Repository | None
    fault: Fault | None
    commit: str | None
    epoch: str | None
    life: float | None
    at: float | None = None


class RefRecord(NamedTuple):
    """A branch's commit. modified: seconds since 1970, for Last-Modified; None in one made by hand.

    epoch, life, at: as above.
    """

    commit: str
    modified: float | None
    epoch: str | None
    life: float | None
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """What a commit is: a site, or the reason why there is none."""

    fault: Fault | None
    site: Site | None
    uses_lfs: bool
    line: int | None
    reason: str


def _dumped(fields: Mapping[str, object], version: int = VERSION) -> bytes:
    text = json.dumps({"v": version, **fields}, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def _loaded(data: bytes, version: int = VERSION) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise Broken("not JSON") from None
    if type(value) is not dict or type(value.get("v")) is not int:
        raise Broken("not a record")
    if 0 < value["v"] < version:
        raise Outdated(f"version {value['v']}")
    if value["v"] != version:
        raise Foreign(f"version {value['v']}")
    return value


def _of(fields: Mapping[str, Any], name: str, kind: type, *, optional: bool = False) -> Any:
    value: Any = fields.get(name)
    if value is None and optional:
        return None
    if kind is float and type(value) in (int, float) and -_LARGEST < value < _LARGEST:  # which NaN is not
        return float(value)
    if type(value) is not kind or kind is float:
        raise Broken(name)
    return value


def _life(fields: Mapping[str, Any]) -> float | None:
    life: float | None = _of(fields, "life", float, optional=True)
    if life is not None and not 0 < life < _LONGEST_LIFE:
        raise Broken("life")
    return life


# --- repositories -----------------------------------------------------------------------------------------------------


def repository_record(lookup: Lookup, epoch: str, life: float) -> bytes:
    """A repository that has a site, had one, or could have one."""
    told: dict[str, object] = {}
    repository = lookup.repository
    if lookup.fault in (Fault.ABSENT, Fault.REFUSED):
        told["fault"] = lookup.fault.name.lower()
    elif repository is not None:
        told = {
            "owner": repository.owner,
            "name": repository.name,
            "id": repository.id,
            "branch": repository.default_branch,
            "public": repository.public,
            "archived": repository.archived,
            "object_format": repository.object_format,
            "updated": repository.updated_at,
            "access": repository.access.value,
            "commit": lookup.commit,
        }
    return _dumped({**told, "epoch": epoch, "life": life, "at": round(time.time())})


def read_repository(data: bytes) -> RepositoryRecord:
    """Raises Broken and Foreign."""
    fields = _loaded(data)
    epoch, life = _of(fields, "epoch", str, optional=True), _life(fields)
    at = _of(fields, "at", float, optional=True)
    fault = _of(fields, "fault", str, optional=True)
    if fault is not None:
        if fault not in ("absent", "refused"):
            raise Broken("fault")
        return RepositoryRecord(None, Fault[fault.upper()], None, epoch, life, at)
    repository = Repository(
        owner=_of(fields, "owner", str),
        name=_of(fields, "name", str),
        id=_of(fields, "id", int),
        default_branch=_of(fields, "branch", str),
        empty=False,
        public=_of(fields, "public", bool),
        archived=_of(fields, "archived", bool),
        object_format=_of(fields, "object_format", str),
        updated_at=_of(fields, "updated", float, optional=True),
        access=_access(fields),
    )
    if not (is_name(repository.owner) and is_name(repository.name) and is_branch(repository.default_branch)):
        raise Broken("a name")
    if repository.object_format not in ("sha1", "sha256"):
        raise Broken("object_format")
    commit = fields.get("commit")
    return RepositoryRecord(repository, None, commit if is_id(commit) else None, epoch, life, at)


def _access(fields: Mapping[str, Any]) -> Access:
    try:
        return Access(fields.get("access"))
    except ValueError:
        raise Broken("access") from None


# --- refs -------------------------------------------------------------------------------------------------------------


def ref_record(lookup: Lookup, epoch: str, life: float) -> bytes:
    fields = {"commit": lookup.commit, "modified": lookup.modified, "epoch": epoch, "life": life}
    return _dumped({**fields, "at": round(time.time())})


def read_ref(data: bytes) -> RefRecord:
    """Raises Broken and Foreign."""
    fields = _loaded(data)
    if not is_id(fields.get("commit")):
        raise Broken("commit")
    modified = _of(fields, "modified", float, optional=True)
    epoch, at = _of(fields, "epoch", str, optional=True), _of(fields, "at", float, optional=True)
    return RefRecord(fields["commit"], modified, epoch, _life(fields), at)


# --- what a commit is -------------------------------------------------------------------------------------------------


def site_record_size(lookup: Lookup) -> int:
    """About how many bytes the record will have, told without making it."""
    site = lookup.site
    if site is None:
        return 1000
    links = 0 if site.links is None else sum(len(each) + len(text) for each, text in site.links.targets.items())
    return 2000 + site.tree.json_nbytes + 4 * links + site.pages_file.nbytes + site.rules.nbytes


def site_record(lookup: Lookup) -> bytes:
    """The contents of the lookup's commit; takes a while for a large site (0.1 s for 100 000 files)."""
    site = lookup.site
    told: dict[str, object] = {
        "commit": lookup.commit,
        "fault": None if lookup.fault is None else lookup.fault.name.lower(),
        "line": lookup.line,
        "reason": lookup.reason,
        "uses_lfs": lookup.uses_lfs,
        "site": None,
    }
    if site is not None:
        told["site"] = {
            "owner": site.owner,
            "name": site.name,
            "modified": site.modified,
            "pages": asdict(site.pages_file),
            "root": site.prefix,
            "rules": {name: data.decode("utf-8", "surrogateescape") for name, data in site.rules.files().items()},
            "max_redirects": site.rules.most,
            "notes": [list(note) for note in site.notes],
            "links": {} if site.links is None else site.links.targets,
            "files": [[path, f"{mode:o}", oid, size] for path, mode, oid, size in site.tree.rows()],
        }
    return _dumped(told, SITE_VERSION)


def read_site(data: bytes, commit: str) -> Contents:
    """Raises Broken and Foreign; takes a while for a large site."""
    fields = _loaded(data, SITE_VERSION)
    if fields.get("commit") != commit:
        raise Broken("commit")
    fault = _of(fields, "fault", str, optional=True)
    if fault is not None:
        fault = Fault.__members__.get(fault.upper())
        if fault is None or fault not in STORED:
            raise Broken("fault")
    told = _of(fields, "site", dict, optional=True)
    if told is None and fault is None:
        raise Broken("site")
    line = _of(fields, "line", int, optional=True)
    uses_lfs, reason = _of(fields, "uses_lfs", bool), _of(fields, "reason", str)
    return Contents(fault, None if told is None else _site(told, commit), uses_lfs, line, reason)


def _site(told: Mapping[str, Any], commit: str) -> Site:
    owner, name = _of(told, "owner", str), _of(told, "name", str)
    if not (is_name(owner) and is_name(name)):
        raise Broken("a name")
    links = _of(told, "links", dict)
    if any(type(target) is not str for target in links.values()):
        raise Broken("links")
    prefix = _of(told, "root", str, optional=True)
    if prefix and not (prefix.endswith("/") and is_path(prefix[:-1])):
        raise Broken("root")
    tree = _tree(told)
    return Site(
        owner,
        name,
        commit,
        _of(told, "modified", float),
        _pages_file(_of(told, "pages", dict)),
        tree,
        Links(tree, links) if links else None,
        prefix,
        _rules(told),
        tuple(map(_note, _of(told, "notes", list))),
    )


def _rules(told: Mapping[str, Any]) -> Rules:
    """The rules, out of the files themselves: so nothing is believed here that a file could not say."""
    files = {}
    for name, text in _of(told, "rules", dict).items():
        if type(text) is not str:
            raise Broken("rules")
        try:
            files[name] = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise Broken("rules") from None
    most = _of(told, "max_redirects", int)
    if not 0 <= most <= _MOST_PLUGIN_RULES:
        raise Broken("max_redirects")
    return rule_files.read(files, most)


def _note(told: object) -> Finding:
    if type(told) is not list or len(told) != len(Finding._fields):
        raise Broken("notes")
    file, line, reason, remedy, lost = told
    if any(type(text) is not str for text in (file, reason, remedy)) or type(lost) is not bool:
        raise Broken("notes")
    if line is not None and type(line) is not int:
        raise Broken("notes")
    return Finding(file, line, reason, remedy, lost)


def _pages_file(told: Mapping[str, Any]) -> PagesFile:
    values: dict[str, Any] = {}
    for each in dataclasses.fields(PagesFile):
        value = told.get(each.name)
        if type(each.default) is tuple:
            if type(value) is not list or any(type(item) is not str for item in value):
                raise Broken(each.name)
            value = tuple(value)
        elif type(value) is not type(each.default):
            # A field that a later version has and this record has not is a record of another time: read it anew.
            raise Broken(each.name)
        values[each.name] = value
    return PagesFile(**values)


def _tree(told: Mapping[str, Any]) -> Tree:
    rows: list[tuple[str, int, str, int]] = []
    for row in _of(told, "files", list):
        if type(row) is not list or len(row) != 4:
            raise Broken("files")
        path, mode, oid, size = row
        if type(path) is not str or not is_path(path) or type(mode) is not str or not is_id(oid):
            raise Broken("files")
        if type(size) is not int or not 0 <= size < _LARGEST:
            raise Broken("files")
        try:
            number = int(mode, 8)
        except ValueError:
            raise Broken("files") from None
        if number not in _MODES:
            raise Broken("files")
        rows.append((path, number, oid, size))
    try:
        return Tree(rows)
    except ValueError:
        raise Broken("files") from None
