# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What Forgejo says of a repository: a look, from its name to the commit's tree, `.pages` and all else that it takes.

A look asks for as little as proves the rest: the branch's commit unchanged means the whole site unchanged. What comes
of it is a `Lookup` that replaces the one before as a whole; trouble is noted beside what is known, and nothing here
raises a ForgejoError. Only what takes long (large trees, long `.pages` files) goes to threads.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from addon.access.guess_limits import Bounded
from addon.forgejo.answers import MODE_SUBMODULE, Access, Branch, Repository, TreeEntry, is_branch
from addon.forgejo.client import Forgejo
from addon.forgejo.errors import (
    BadAnswer,
    ForgejoError,
    NotFound,
    Overloaded,
    Refused,
    ServerTrouble,
    TooManyFiles,
    TreeTooLarge,
)
from addon.forgejo.health_log import HealthLog
from addon.library.blobs import Blobs
from addon.net.clocks import Clocks
from addon.settings.schema import Settings
from addon.shared.lookup import DISABLED, EMPTY, Fault, Key, Lookup, Wanted, branch_of, repository_of, unknown
from addon.sites import plugin_redirects
from addon.sites.empty_site import EmptySite
from addon.sites.findings import Finding
from addon.sites.links import Links
from addon.sites.pages_file import MAX_BYTES as MAX_PAGES_FILE
from addon.sites.pages_file import PagesFile, PagesFileError, parse, takes_long
from addon.sites.rules import IN_ROOT, Rules
from addon.sites.rules import read as read_rules
from addon.sites.site import MAX_LINK_TARGET, PUBLIC, File, Site, files_below, is_content
from addon.sites.tree import MODE_LINK, Tree

logger = logging.getLogger(__name__)

PAGES_FILE = ".pages"
ATTRIBUTES_FILE = ".gitattributes"
_ATTRIBUTES_BELOW = "/.gitattributes"
MAX_LINKS = 2_000
_MAX_ATTRIBUTES = 4
_ATTRIBUTES_BYTES = 64 * 1024
_NOT_FOUND_BYTES = 64 * 1024
"""A 404.html up to this size comes with the site: the first missing path is often the same visitor's favicon."""
_MOST_SEEN = 50_000
MAX_PATH = 4096
"""Characters of a path: Linux has no longer one."""
ROW_BYTES = 40
"""What a file takes besides its path."""
LEAST_BYTES = 1024 * 1024
"""What a site may take however little memory holds: to read that again costs little."""
ALIAS_FILES = (".domains", "CNAME")
"""Where Codeberg's and GitHub's sites name their domains."""
PLUGIN_REDIRECTS = plugin_redirects.FILE
_ALIAS_BYTES = 64 * 1024
_MAX_ALIASES = 200
_MAX_RULE_FILE = 4 * 1024 * 1024
"""Rule files above this are not fetched; of what is, 1 MiB is read."""
_THREAD_ROWS = 1_000
"""Trees above this are built on a thread: 1 000 rows take about 3 ms."""
_ROWS_AT_ONCE = 500
"""Others have their turn behind a page with more rows than these: 1 000 take about 3 ms."""
_THREAD_RULES = 4 * 1024
"""Rule files above this are read on a thread."""
_THREAD_LINKS = 2 * 1024
"""Links with more text than this are followed on a thread: 1 024 steps take about 5 ms."""


class _Listed(NamedTuple):
    """What matters of a commit's tree. rows: the files and links that are served; governing: those that say how.

    too_many: how many there were when they became too many; then there are none. nothing: why there are none, where
    the rest of the tree says it.
    """

    rows: Sequence[TreeEntry]
    attributes: list[TreeEntry]
    governing: dict[str, TreeEntry]
    too_many: int
    nothing: Finding | None = None

    def one(self, path: str) -> TreeEntry | None:
        return self.governing.get(path)


class SiteLoader:
    """Looks at repositories by asking Forgejo."""

    def __init__(
        self,
        settings: Settings,
        forgejo: Forgejo,
        blobs: Blobs,
        peek: Callable[[Key], Lookup | None],
        operators: Key | None,
        clocks: Clocks,
    ) -> None:
        """peek: what is known of a repository. operators: the errorPagesRepo."""
        self._settings = settings
        self._forgejo = forgejo
        self._blobs = blobs
        self._peek = peek
        self._operators = operators
        self._clock, self._now = clocks
        self._health = HealthLog(clocks.monotonic)
        # Repositories that were there once: who asks for them is no stranger, also when memory has lost the site.
        self._seen: Bounded[Key, None] = Bounded(_MOST_SEEN)
        # What memory could not hold with others beside it would be read again for every visit.
        self._most_bytes = min(settings.max_site_bytes, max(settings.memory_cache_size // 2, LEAST_BYTES))

    @property
    def trouble(self) -> ForgejoError | None:
        """Why Forgejo gave no answer when it was asked last; None where it did."""
        return self._health.trouble

    async def find(self, key: Key, known: Lookup | None, wanted: Wanted | None) -> Lookup:
        """What Forgejo says of a repository; trouble is noted beside what is known."""
        try:
            found = await self._ask(key, known, wanted)
        except NotFound as missing:
            found = await self._missing(key, known, missing)
        except Refused:
            kept = replace(known, site=None, trouble=None, failures=0) if known is not None else Lookup(key, 0.0)
            found = replace(kept, looked=self._clock(), fault=Fault.REFUSED)
        except ForgejoError as trouble:
            found = self._troubled(key, known, trouble)
        except Exception:
            logger.exception("refreshing %s/%s failed", *key)
            found = self._troubled(key, known, ServerTrouble("an error of our own"))
        if found.trouble is not None:
            self._health.bad("/".join(key), found.trouble)
        else:
            self._health.good()
        return found

    async def find_commit(
        self, key: Key, repository: Repository, commit: str, known: Lookup | None, wanted: Wanted | None
    ) -> Lookup | None:
        """What a commit is that somebody else found on the branch; None where Forgejo does not say."""
        try:
            branch = Branch(branch_of(key) or repository.default_branch, commit, None, repository.access)
            return await self._site(key, repository, branch, known, wanted)
        except ForgejoError:
            return None

    async def _ask(self, key: Key, known: Lookup | None, wanted: Wanted | None) -> Lookup:
        """The calls of one look. Unknown: repository, branch, tree, blobs. Known: branch, then what that makes due.

        A branch's look knows the repository from the site's, which was looked at before it, and which is looked at anew
        as often: what else may have become of the repository is left to that.
        """
        named = branch_of(key)
        of_site = self._peek(repository_of(key)) if named is not None and known is None else known
        repository = of_site.repository if of_site is not None else None
        branch: Branch | None = None
        if repository is not None and repository.public and repository.access is Access.ANONYMOUS:
            # That an anonymous call sees the branch proves that the repository is still public.
            try:
                branch = await self._forgejo.branch(repository, named or repository.default_branch)
            except NotFound:
                pass  # made private, renamed, deleted, or another branch is the default now
            else:
                changed = named is not None or known is None or branch.commit != known.commit
                if changed and branch.access is Access.ANONYMOUS:
                    return await self._site(key, repository, branch, known, wanted)
        private = self._settings.serve_private_repositories
        asked = await self._forgejo.repository(
            *repository_of(key),
            allow_token_private=private,
            known=repository is not None or repository_of(key) in self._seen,
        )
        self._seen.put(repository_of(key), None)
        if asked.empty or not (asked.public or private):
            reason = EMPTY if asked.empty and asked.public else ""
            return Lookup(key, self._clock(), fault=Fault.ABSENT, reason=reason)
        if branch is None or repository is None or not _same_place(asked, repository):
            branch = await self._forgejo.branch(asked, named or asked.default_branch)
        return await self._site(key, asked, branch, known, wanted)

    async def _site(
        self, key: Key, repository: Repository, branch: Branch, known: Lookup | None, wanted: Wanted | None
    ) -> Lookup:
        now, today = self._clock(), self._now()
        if (
            known is not None
            and known.holds_for(repository, branch.commit)
            and self.lies_right(key, known.site, repository)
        ):
            return replace(known, looked=now, repository=repository, trouble=None, failures=0)
        modified = min(branch.timestamp if branch.timestamp is not None else today, today)
        if known is not None and known.commit != branch.commit:
            # Never older than what it replaces, and where it can be, newer: dates are whole seconds.
            modified = max(modified, min(float(int(known.modified) + 1), today), known.modified)
        elif known is not None:
            modified = max(modified, known.modified)
        found = Lookup(key, now, repository=repository, commit=branch.commit, modified=modified)
        try:
            return await self._read(found, repository, branch.commit, wanted)
        except TooManyFiles as many:
            return replace(found, fault=Fault.TOO_MANY_FILES, total=many.total)
        except TreeTooLarge as large:  # of this commit for ever, so nobody asks again until there is another
            logger.warning("%s/%s is too large: %s", *key, large.reason)
            return replace(found, fault=Fault.TOO_LARGE)
        except NotFound as missing:
            if missing.certain:
                raise
            raise ServerTrouble("git cannot read what the branch points to") from None

    async def _read(
        self,
        found: Lookup,
        repository: Repository,
        commit: str,
        wanted: Wanted | None,
        said: PagesFile | None = None,
    ) -> Lookup:
        """The site that a commit is, or why it is none: its tree, then `.pages` and all else that it takes at once.

        A branch's commit is a site whatever its own `.pages` says, if it has one at all: the default branch's governs.
        What its own says is noted as the fault, for the day on which that commit is the default branch's. said: the
        `.pages`, where it was read before: where a site lies is guessed first, for that is mostly right.
        """
        branch = branch_of(found.key) is not None
        anyway = branch or found.key == self._operators
        prefix = said.prefix if said is not None else self.prefix_of(found.key)
        listed = await self._rows(repository, commit, prefix, anyway)
        settings = listed.one(PAGES_FILE)
        if settings is None and not anyway:
            return replace(found, fault=Fault.UNCONFIGURED)
        broken: PagesFileError | None = None
        if settings is not None and (settings.mode == MODE_LINK or settings.size > MAX_PAGES_FILE):
            reason = "it is a symbolic link" if settings.mode == MODE_LINK else "it is larger than 64 KiB"
            broken, settings = PagesFileError(None, reason), None
            if not branch:
                return self._broken(found, broken)
        if listed.too_many:
            if settings is None or branch or said is not None:
                raise TooManyFiles(listed.too_many)
            tree, links, page = Tree(()), [], None  # until it is known that these are the files
            site = Site(repository.owner, repository.name, commit, found.modified, PagesFile(), tree)
        else:
            tree = await self._tree(listed.rows, prefix)
            site = Site(repository.owner, repository.name, commit, found.modified, PagesFile(), tree, prefix=prefix)
            links = [(path, entry) for path, entry in tree.links() if entry.size <= MAX_LINK_TARGET]
            page = site.outcome(*wanted) if wanted is not None else None
        notes: list[Finding] = []
        if len(links) > MAX_LINKS:
            logger.warning("%s/%s: only %d of %d links are followed", *found.key, MAX_LINKS, len(links))
            notes.append(Finding("", None, f"only {MAX_LINKS} of {len(links)} symbolic links are followed"))
            del links[MAX_LINKS:]
        if sum(entry.size for _, entry in links) > self._most_bytes:
            raise TreeTooLarge("its links take more bytes than are allowed")
        needed = [(entry.id, entry.size) for _, entry in links]
        if settings is not None:
            needed.append((settings.id, settings.size))
        attributes = listed.attributes if len(listed.attributes) <= _MAX_ATTRIBUTES else []
        welcome = [(row.id, row.size) for row in attributes if row.size <= _ATTRIBUTES_BYTES]
        # A branch without `.pages` that is a whole site names its domains as other pages servers have it.
        others = ALIAS_FILES if branch and settings is None and not prefix else ()
        files = _small(listed, (*(f"{prefix}{name}" for name in IN_ROOT), PLUGIN_REDIRECTS, *others), notes)
        welcome += [(row.id, row.size) for row in files.values()]
        if isinstance(page, File) and page.entry.size <= self._settings.max_cached_file_size:
            welcome.append((page.entry.id, page.entry.size))
        page = site.not_found_page()
        if page is not None and page.entry.size <= min(_NOT_FOUND_BYTES, self._settings.max_cached_file_size):
            welcome.append((page.entry.id, page.entry.size))
        blobs = await self._blobs.many(repository, [*needed, *welcome])
        if any(oid not in blobs for oid, _ in needed):
            raise BadAnswer("Forgejo left out blobs that it was asked for")
        # Only what `.gitattributes` gives to Git LFS can be a pointer; what was not read might.
        speak = [blobs.get(row.id) for row in listed.attributes]
        found = replace(found, uses_lfs=any(each is None or b"lfs" in each.data for each in speak))
        pages_file = PagesFile()
        if settings is not None:
            try:
                pages_file = await self._pages_file(blobs[settings.id].data)
                if pages_file.branch and not is_branch(pages_file.branch):
                    raise PagesFileError(None, "branch: git has no branch of such a name")
            except PagesFileError as error:
                broken = error
                if not branch:
                    return self._broken(found, broken)
            for warning in () if branch else pages_file.warnings:
                logger.warning("%s/%s: .pages: %s", *found.key, warning)
        if not (repository.public or branch or pages_file.publishes_private):
            return replace(found, fault=Fault.ABSENT)
        elsewhere = not branch and pages_file.shown_branch(repository.default_branch) is not None
        if not (branch or elsewhere) and said is None and pages_file.prefix != prefix:
            return await self._read(found, repository, commit, wanted, pages_file)
        if elsewhere:
            site = replace(site, pages_file=pages_file, tree=Tree(()), prefix=None)
        else:
            if listed.too_many:
                raise TooManyFiles(listed.too_many)
            texts = {row.path: blobs[row.id].data for row in files.values() if row.id in blobs}
            notes += [
                Finding(path, None, "Forgejo does not give it in one piece") for path in files if path not in texts
            ]
            notes += _misplaced(listed, prefix)
            notes += [listed.nothing] if listed.nothing is not None else []
            rules = await self._rules({_rule_name(path, prefix): data for path, data in texts.items()})
            followed = await self._links(tree, {path: _target(blobs[entry.id].data) for path, entry in links})
            if followed is not None and followed.left:
                left = f"{followed.left} symbolic links are not followed: they lead through too many folders"
                logger.warning("%s/%s: %s", *found.key, left)
                notes.append(Finding("", None, left))
            aliases = named_domains(texts)
            site = replace(
                site,
                pages_file=replace(pages_file, custom_domains=aliases) if aliases else pages_file,
                links=followed,
                rules=rules,
                notes=tuple(notes),
            )
        if broken is not None:
            return replace(found, site=site, fault=Fault.BROKEN, line=broken.line, reason=broken.reason)
        if settings is None or not pages_file.enabled:
            # The operator's pages need no `.pages`; without one, the repository is no site of its owner's.
            reason = "" if settings is None else DISABLED
            return replace(found, site=site if anyway else None, fault=Fault.UNCONFIGURED, reason=reason)
        return replace(found, site=site)

    def prefix_of(self, key: Key) -> str:
        """What stands before a site's paths in its repository, as far as that is known before `.pages` is read.

        A branch's lie as the default one's `.pages` says; where there is none, it is a site as others have them, whole.
        """
        governing = self._peek(repository_of(key))
        site = governing.site if governing is not None else None
        if branch_of(key) is None:
            return site.prefix if site is not None and site.prefix is not None else PUBLIC
        if site is not None:
            return site.pages_file.prefix
        return "" if governing is not None and governing.fault is Fault.UNCONFIGURED else PUBLIC

    def lies_right(self, key: Key, site: Site | None, repository: Repository) -> bool:
        """Whether a site's files are those that are served under a key: what governs them may say otherwise by now."""
        if site is None:
            return True
        if branch_of(key) is not None:
            return site.prefix == self.prefix_of(key)
        rules = site.pages_file
        return site.prefix == (None if rules.shown_branch(repository.default_branch) is not None else rules.prefix)

    def _broken(self, found: Lookup, error: PagesFileError) -> Lookup:
        logger.warning("%s/%s: .pages cannot be read: %s", *found.key, error)
        return replace(found, fault=Fault.BROKEN, line=error.line, reason=error.reason)

    async def _rows(self, repository: Repository, commit: str, prefix: str, anyway: bool) -> "_Listed":
        """The commit's rows that matter: what lies below prefix, and the files that govern a site.

        anyway: it is one even without `.pages`.
        """
        async with aclosing(self._forgejo.tree_pages(repository, commit, most_bytes=self._most_bytes)) as pages:
            return await self._listed(pages, prefix, anyway)

    async def _listed(self, pages: AsyncIterator[list[TreeEntry]], prefix: str, anyway: bool) -> "_Listed":
        """The same, of pages that may be read no further.

        Git lists paths in the order of their bytes, so reading ends after the last page that can hold them: a large
        repository that is no site costs one page, not its whole tree.
        """
        rows: list[TreeEntry] = []
        attributes: list[TreeEntry] = []
        governing: dict[str, TreeEntry] = {}
        named = {PAGES_FILE, PLUGIN_REDIRECTS, *ALIAS_FILES, *IN_ROOT, *(f"{prefix}{name}" for name in IN_ROOT)}
        end = max(f"{prefix[:-1]}0", PLUGIN_REDIRECTS) if prefix else None  # "0" is the byte after "/"
        nbytes = 0
        around = EmptySite(prefix)
        async for page in pages:
            for row in page:
                path = row.path
                if len(path) > MAX_PATH:
                    raise TreeTooLarge(f"a path of more than {MAX_PATH} characters")
                if not rows:
                    around.add(path, row.mode)
                if row.mode == MODE_SUBMODULE:
                    continue
                if path in named:
                    governing[path] = row
                if path.startswith(prefix) and is_content(path, prefix):
                    rows.append(row)
                if path == ATTRIBUTES_FILE or (path.endswith(_ATTRIBUTES_BELOW) and _bears_on(path, prefix)):
                    attributes.append(row)
            if len(rows) > self._settings.max_site_files:
                return _Listed([], attributes, governing, len(rows))
            nbytes += sum(len(row.path) + ROW_BYTES for row in page)
            if nbytes > self._most_bytes:
                raise TreeTooLarge(f"its paths take more than {self._most_bytes} bytes")
            last = page[-1].path if page else ""
            if (end is not None and last > end) or (last > PAGES_FILE and not anyway and PAGES_FILE not in governing):
                break
            if len(page) > _ROWS_AT_ONCE:
                await asyncio.sleep(0)  # the next ones may be there already
        return _Listed(rows, attributes, governing, 0, None if rows else around.explained())

    async def _rules(self, files: dict[str, bytes]) -> Rules:
        most = self._settings.max_redirects
        if sum(map(len, files.values())) <= _THREAD_RULES:
            return read_rules(files, most)
        return await self._blobs.on_thread(partial(read_rules, files, most))

    async def _tree(self, rows: Sequence[TreeEntry], prefix: str) -> Tree:
        try:
            if len(rows) <= _THREAD_ROWS:
                return files_below(rows, prefix)
            return await self._blobs.on_thread(partial(files_below, rows, prefix))
        except ValueError:
            raise BadAnswer("tree: entries that cannot be of one commit") from None

    async def _links(self, tree: Tree, targets: dict[str, str]) -> Links | None:
        """The links, followed; on a thread where that may take long."""
        if not targets:
            return None
        if sum(map(len, targets.values())) <= _THREAD_LINKS:
            return Links(tree, targets)
        return await self._blobs.on_thread(partial(Links, tree, targets))

    async def _pages_file(self, data: bytes) -> PagesFile:
        if not takes_long(data):
            return parse(data)
        return await self._blobs.on_thread(partial(parse, data))

    async def _missing(self, key: Key, known: Lookup | None, missing: NotFound) -> Lookup:
        """A 404 on the repository. For a site that was there, only a certain one, and while Forgejo itself answers."""
        if not missing.certain:
            return self._troubled(key, known, missing)
        if known is not None and known.site is not None:
            try:
                await self._forgejo.version()
            except ForgejoError as trouble:
                return self._troubled(key, known, trouble)
        self._seen.drop(repository_of(key))
        return Lookup(key, self._clock(), fault=Fault.ABSENT)

    def _troubled(self, key: Key, known: Lookup | None, trouble: ForgejoError) -> Lookup:
        if known is None:
            return unknown(key, trouble, self._clock())
        if isinstance(trouble, Overloaded):  # which says nothing of Forgejo, nor of this repository
            return known
        return known.troubled(trouble, self._clock(), self._settings.stale_ttl)


def _same_place(one: Repository, other: Repository) -> bool:
    """Whether the default branch of one is that of the other."""
    return (one.id, one.owner, one.name, one.default_branch) == (
        other.id,
        other.owner,
        other.name,
        other.default_branch,
    )


def _small(listed: _Listed, paths: Iterable[str], notes: list[Finding]) -> dict[str, TreeEntry]:
    """Those of the files that govern a site that can be read; why the others cannot is noted."""
    found: dict[str, TreeEntry] = {}
    for path in paths:
        row = listed.one(path)
        if row is None:
            continue
        if row.mode == MODE_LINK:
            notes.append(Finding(path, None, "it is a symbolic link, and is not read", "put the file itself there"))
        elif row.size > _MAX_RULE_FILE:
            notes.append(Finding(path, None, "it is larger than 4 MiB, and is not read"))
        else:
            found[path] = row
    return found


def _misplaced(listed: _Listed, prefix: str) -> list[Finding]:
    """Rule files that lie where nobody reads them."""
    if not prefix:
        return []
    remedy = f"move it to {prefix}"
    return [
        Finding(name, None, "it lies outside the site, and is not read", remedy)
        for name in IN_ROOT
        if name in listed.governing and f"{prefix}{name}" not in listed.governing
    ]


def _bears_on(attributes: str, prefix: str) -> bool:
    """Whether a `.gitattributes` file speaks of files below prefix."""
    folder = attributes[: -len(ATTRIBUTES_FILE)]
    return folder.startswith(prefix) or prefix.startswith(folder)


def _rule_name(path: str, prefix: str) -> str:
    return path if path == PLUGIN_REDIRECTS else path.removeprefix(prefix)


def named_domains(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """The domains that a repository names as other pages servers have it: in `.domains` (one a line), or `CNAME`.

    What a line holds besides a name is left out; what is no name is refused where domains are claimed.
    """
    data = files.get(ALIAS_FILES[0]) or files.get(ALIAS_FILES[1]) or b""
    names: dict[str, None] = {}
    for line in data[:_ALIAS_BYTES].decode("utf-8", "replace").splitlines()[:_MAX_ALIASES]:
        name = line.partition("#")[0].strip().lower()
        name = name.removeprefix("https://").removeprefix("http://").rstrip("/")
        if name and name.isprintable() and not set(name) & set(" /"):
            names[name] = None
    return tuple(names)


def _target(data: bytes) -> str:
    """A link's target, spelt as Forgejo lists paths: U+FFFD for each byte that is no UTF-8 (Go's encoding/json)."""
    return re.sub("[\udc80-\udcff]", "\ufffd", data.decode("utf-8", "surrogateescape"))
