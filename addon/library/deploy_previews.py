# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which deploy previews a repository has, and what each shows: a table a repository, a commit a preview.

The table is what Forgejo said last: open pull requests and branches, with their head commits. It is replaced as a
whole, is looked at again by cacheTTL, by each webhook and as soon as `.pages` says otherwise, and is closed, not stale,
where that cannot be had for long. A commit's site is read as a branch's is, from the base repository and by id, so what
previews and site share is held once. What a preview shows and who may see it is said by the default branch's `.pages`
alone. The surprise: none of this is a `Lookup` of its own, for a purge would look at it as at a branch; it lies beside
them in memory, under other keys.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from addon.access.guess_limits import Bounded
from addon.forgejo.answers import Repository
from addon.forgejo.client import Forgejo
from addon.forgejo.errors import ForgejoError, ServerTrouble
from addon.library.library import Library
from addon.library.memory import SingleFlight
from addon.library.pull_consents import PullConsents
from addon.net.clocks import SYSTEM, Clocks
from addon.settings.schema import Settings
from addon.shared.freshness import NEGATIVE_TTL, TROUBLE_PAUSE
from addon.shared.lookup import Key, Lookup, Wanted, repository_of, without_frames
from addon.sites.pages_file import PagesFile
from addon.sites.preview_rules import EVERYBODYS, PreviewRules
from addon.web.preview_labels import PreviewLabel, branch_part, commit_label, repository_part
from addon.web.preview_labels import branch_label as label_of_branch
from addon.web.preview_labels import pull_label as label_of_pull

logger = logging.getLogger(__name__)

MOST_BRANCHES_ASKED = 20
"""Branches in whose history a commit is looked for, the default one first."""
MOST_PULLS_LISTED = 500
"""Open pull requests of a repository that are looked at, the newest of them, unless maxPreviews is more."""
_MOST_OF_AN_OWNER = 50
_ROW_BYTES, _HEAD_BYTES = 500, 180
_TRIES = 3
_THREAD_BRANCHES = 200
"""Branches above which their labels are made on a thread: 200 take about 4 ms."""
_TABLE = "previews"
_MOST_SHORTENED = 10_000


class Preview(NamedTuple):
    """A preview that there is. kind: `branch`, `commit` or `pull`; name: the branch's, the number, or the commit's.

    changed: seconds since 1970 of its last change, where that is known without another question.
    """

    kind: str
    name: str
    commit: str
    label: str
    changed: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PreviewTable:
    """The previews of a repository. looked: monotonic seconds of the look; rules: those that it was made by.

    branches: by their part of the label. heads: commits of all branches, whether they have previews or not.
    doubted: something has changed since. identity: stands for what was seen, where nobody should hold all of it.
    """

    looked: float
    rules: PreviewRules
    branches: dict[str, Preview]
    pulls: dict[str, Preview]
    heads: dict[str, str]
    doubted: bool = False
    identity: object = field(default_factory=object)

    def find(self, asked: PreviewLabel) -> Preview | None:
        """The branch or pull request that a label asks for."""
        return (self.pulls if asked.kind == "pull" else self.branches).get(asked.text)

    def all(self) -> list[Preview]:
        """Pull requests first, the newest before others; then branches by name."""
        return [*self.pulls.values(), *self.branches.values()]

    @property
    def nbytes(self) -> int:
        """What it takes in memory, in bytes."""
        heads = sum(map(len, self.heads))
        return 500 + _ROW_BYTES * (len(self.branches) + len(self.pulls)) + _HEAD_BYTES * len(self.heads) + heads


@dataclass(frozen=True, slots=True, eq=False)
class PreviewCommit:
    """A commit as a preview shows it. lookup: its site, or why there is none; committed_at: seconds since 1970."""

    lookup: Lookup
    committed_at: float


class Trouble(NamedTuple):
    """Forgejo has no answer, believed until then (monotonic seconds)."""

    error: ForgejoError
    until: float


@dataclass(frozen=True, slots=True, eq=False)
class NoPreview:
    """There is no such commit, or it is nobody's here; believed until then (monotonic seconds)."""

    until: float


class _Resolved(NamedTuple):
    """A commit that was in the history of one of a table's branches; identity: the table's."""

    commit: str
    identity: object


class _Called(NamedTuple):
    """A repository's name, believed until then."""

    name: str | NoPreview
    until: float


class DeployPreviews:
    """The previews of all repositories. State: what memory holds of them, and the looks under way."""

    def __init__(self, settings: Settings, forgejo: Forgejo, library: Library, clocks: Clocks = SYSTEM) -> None:
        self._settings = settings
        self._forgejo = forgejo
        self._library = library
        self._clock, self._now = clocks
        self._flights: SingleFlight[tuple[str, ...]] = SingleFlight()
        self._consents = PullConsents(forgejo.pulls, clocks.now)
        self._doubted: set[Key] = set()  # while they were looked at
        self._shortened: Bounded[tuple[str, str], str] = Bounded(_MOST_SHORTENED)  # names that labels have no room for
        self.eager: Callable[[Key], bool] = lambda key: False
        """Whether a repository is to be looked at as soon as something has changed, though nobody asks."""
        self.looked: Callable[[Lookup, PreviewTable], object] = lambda lookup, table: None
        """Told of each table that a look has made."""
        self._behind: set[asyncio.Task[None]] = set()

    @property
    def domain(self) -> str | None:
        """The domain of previews; None where there are none."""
        return self._settings.preview_domain

    def good_until(self, table: PreviewTable) -> float:
        """Monotonic seconds until which a table needs no new look."""
        return -math.inf if table.doubted else table.looked + self._settings.cache_ttl

    def usable(self, table: PreviewTable) -> bool:
        """Whether an old table may still be used where Forgejo gives no answer: not once something has changed."""
        return not table.doubted and self._clock() < table.looked + 2 * self._settings.cache_ttl

    def fresh(self, table: PreviewTable) -> bool:
        """Whether a table needs no new look."""
        return self._clock() < self.good_until(table)

    def shown_until(self, preview: Preview, made: PreviewCommit) -> float:
        """Monotonic seconds until which a preview is young enough."""
        changed = made.committed_at if preview.changed is None else preview.changed
        return self._clock() + changed + self._settings.preview_ttl - self._now()

    def is_over(self, changed: float) -> bool:
        """Whether the time of a preview is over whose last change was then."""
        return self._now() - changed > self._settings.preview_ttl

    def too_old(self, preview: Preview, made: PreviewCommit) -> bool:
        """Whether a preview's time is over."""
        return self.is_over(made.committed_at if preview.changed is None else preview.changed)

    # What is known, at once.

    def table(self, lookup: Lookup) -> PreviewTable | Trouble | None:
        """What is known of a repository's previews; lookup: the repository, with its site."""
        found = self._library.memory.get(table_key(lookup.key))
        if isinstance(found, Trouble):
            return found if self._clock() < found.until else None
        if isinstance(found, PreviewTable) and lookup.site is not None:
            return found if found.rules == lookup.site.pages_file.previews else None
        return None

    def held(self, lookup: Lookup, commit: str) -> PreviewCommit | Trouble | None:
        """A commit that was read, for as long as it lies where `.pages` says."""
        found = self._library.memory.get(commit_key(lookup.key, commit))
        if isinstance(found, Trouble):
            return found if self._clock() < found.until else None
        if not isinstance(found, PreviewCommit) or lookup.site is None or lookup.repository is None:
            return None
        site = found.lookup.site
        if site is not None and site.prefix != lookup.site.pages_file.prefix:
            return None
        known = found.lookup.repository
        same = known is not None and (known.id, known.public) == (lookup.repository.id, lookup.repository.public)
        return found if same else None

    def resolved(self, lookup: Lookup, table: PreviewTable, text: str) -> str | NoPreview | Trouble | None:
        """The commit that begins so, where that was found out from the same branches."""
        found = self._library.memory.get(_resolved_key(lookup.key, text))
        if isinstance(found, NoPreview | Trouble):
            return found if self._clock() < found.until else None
        return found.commit if isinstance(found, _Resolved) and found.identity is table.identity else None

    # Looks.

    async def look(self, lookup: Lookup) -> PreviewTable | Trouble:
        """The previews that a repository has now; many who ask share one look."""
        key = table_key(lookup.key)
        return await self._flights.do(key, lambda: self._looked(key, lookup))

    async def load(self, lookup: Lookup, commit: str, wanted: Wanted | None) -> PreviewCommit | Trouble:
        """A commit's site. lookup: the repository; wanted: the path that a visitor waits for."""
        key = commit_key(lookup.key, commit)
        return await self._flights.do(key, lambda: self._loaded(key, lookup, commit, wanted))

    async def resolve(self, lookup: Lookup, table: PreviewTable, text: str) -> str | NoPreview | Trouble:
        """The commit that begins so, if it is in the history of one of the repository's branches."""
        key = _resolved_key(lookup.key, text)
        return await self._flights.do(key, lambda: self._resolved(key, lookup, table, text))

    def known_name(self, asked: PreviewLabel) -> str | NoPreview | None:
        """The repository that a label means, as far as that is known."""
        if not asked.shortened:
            return asked.repository
        found = self._library.memory.get(_name_key(asked))
        return found.name if isinstance(found, _Called) and self._clock() < found.until else None

    async def called(self, asked: PreviewLabel) -> str | NoPreview:
        """The repository whose name has no room in a label: one that was looked at, or that Forgejo lists."""
        return await self._flights.do(_name_key(asked), lambda: self._called(asked))

    async def _called(self, asked: PreviewLabel) -> str | NoPreview:
        owner, part = asked.owner, asked.repository
        seen = self._shortened.get((owner, part))
        names = set() if seen is None else {seen}
        try:
            listed = await self._forgejo.repositories_of(owner, _MOST_OF_AN_OWNER)
            names.update(map(str.lower, listed))
        except ForgejoError as trouble:
            logger.debug("repositories of %s: %s", owner, trouble)
        fitting = [name for name in names if repository_part(name, owner) == part]
        name: str | NoPreview = NoPreview(0.0)
        life = NEGATIVE_TTL
        if len(fitting) == 1:
            name, life = fitting[0], self._settings.cache_ttl
        self._library.memory.put(_name_key(asked), _Called(name, self._clock() + life), 300)
        return name

    def changed(self, key: Key | None) -> None:
        """Something has happened to a repository, or to everything (None): what is known of previews is doubted."""
        if self.domain is None:
            return
        memory = self._library.memory
        names = [name for name, _ in memory.items() if name[0] == _TABLE] if key is None else [table_key(key)]
        for name in names:
            found = memory.get(name)
            if isinstance(found, PreviewTable):
                memory.put(name, replace(found, doubted=True), found.nbytes)
            else:
                memory.drop(name)
        if key is None:
            return
        if self._flights.running(table_key(key)):
            self._doubted.add(key)
        if self.eager(key) or isinstance(memory.get(table_key(key)), PreviewTable):
            look = asyncio.create_task(self._look_again(key))
            self._behind.add(look)
            look.add_done_callback(self._seen)

    async def aclose(self) -> None:
        """Stop every look under way."""
        behind = list(self._behind)
        for look in behind:
            look.cancel()
        await asyncio.gather(*behind, return_exceptions=True)
        await self._flights.aclose()

    async def _look_again(self, key: Key) -> None:
        """Look at once, so that the next visitor finds it done."""
        lookup = await self._library.look(repository_of(key))
        if shows_previews(lookup):
            await self.look(lookup)

    def _seen(self, look: asyncio.Task[None]) -> None:
        self._behind.discard(look)
        if not look.cancelled() and (error := look.exception()) is not None:
            logger.error("looking at the previews of a repository failed", exc_info=error)

    async def _looked(self, key: tuple[str, ...], lookup: Lookup) -> PreviewTable | Trouble:
        assert lookup.repository is not None
        assert lookup.site is not None
        for _ in range(_TRIES):
            self._doubted.discard(lookup.key)
            try:
                table = await self._asked(lookup, lookup.repository, lookup.site.pages_file.previews)
            except ForgejoError as error:
                return self._troubled(key, lookup, error)
            if lookup.key not in self._doubted:
                break
        else:
            table = replace(table, doubted=True)  # it changes faster than it can be read
        self._doubted.discard(lookup.key)
        self._library.memory.put(key, table, table.nbytes)
        owner, name = lookup.repository.owner.lower(), lookup.repository.name.lower()
        if (part := repository_part(name, owner)) not in (None, name):
            self._shortened.put((owner, str(part)), name)
        self.looked(lookup, table)
        return table

    def _troubled(self, key: tuple[str, ...], lookup: Lookup, error: ForgejoError) -> Trouble:
        """Note that there is no answer, beside what is known."""
        without_frames(error)
        logger.warning("previews of %s/%s: %s", *lookup.key, error)
        trouble = Trouble(error, self._clock() + TROUBLE_PAUSE)
        if not isinstance(self._library.memory.get(key), PreviewTable):
            self._library.memory.put(key, trouble, 200)
        return trouble

    async def _asked(self, lookup: Lookup, repository: Repository, rules: PreviewRules) -> PreviewTable:
        """The calls of a look: one for all branches, one for each fifty pull requests, and what consents take."""
        asks, most = self._forgejo.pulls, self._settings.max_previews
        began, owner, name = self._clock(), repository.owner, repository.name
        heads = await asks.heads(repository) if rules.branches or rules.commits else {}
        listed = await asks.open_pulls(repository, max(most, MOST_PULLS_LISTED)) if rules.pulls else []
        shown = [pull for pull in listed if pull.own]
        strangers = [pull for pull in listed if not pull.own]
        if rules.pulls != EVERYBODYS:
            strangers = await self._consents.given(repository, strangers)
        pulls: dict[str, Preview] = {}
        for pull in [*shown, *strangers][:most]:  # however many strangers open, the repository's own have room
            label = label_of_pull(pull.number, name, owner)
            if label is not None:
                pulls[str(pull.number)] = Preview("pull", str(pull.number), pull.head, label, pull.updated_at)
        build = partial(_branches, repository, heads, rules, most - len(pulls))
        branches = build() if len(heads) <= _THREAD_BRANCHES else await self._library.blobs.on_thread(build)
        return PreviewTable(began, rules, branches, pulls, heads if rules.commits else {})

    async def _loaded(
        self, key: tuple[str, ...], lookup: Lookup, commit: str, wanted: Wanted | None
    ) -> PreviewCommit | Trouble:
        repository = lookup.repository
        assert repository is not None
        try:
            told = await self._forgejo.pulls.commit(repository, commit)
            found = None
            if told is not None:
                found = await self._library.find_commit(site_key(lookup.key, commit), repository, commit, None, wanted)
            if told is None or found is None:
                raise ServerTrouble("Forgejo does not show a commit that it named")
        except ForgejoError as error:
            without_frames(error)
            trouble = Trouble(error, self._clock() + TROUBLE_PAUSE)
            self._library.memory.put(key, trouble, 200)
            return trouble
        made = PreviewCommit(found, told.committed_at)
        self._library.memory.put(key, made, 1200 + (found.site.nbytes if found.site is not None else 0))
        return made

    async def _resolved(
        self, key: tuple[str, ...], lookup: Lookup, table: PreviewTable, text: str
    ) -> str | NoPreview | Trouble:
        repository = lookup.repository
        assert repository is not None
        try:
            commit = await self._in_history(repository, table, text)
        except ForgejoError as error:
            without_frames(error)
            trouble = Trouble(error, self._clock() + TROUBLE_PAUSE)
            self._library.memory.put(key, trouble, 300)
            return trouble
        none = NoPreview(self._clock() + NEGATIVE_TTL)
        self._library.memory.put(key, none if commit is None else _Resolved(commit, table.identity), 300)
        return none if commit is None else commit

    async def _in_history(self, repository: Repository, table: PreviewTable, text: str) -> str | None:
        asks, heads = self._forgejo.pulls, table.heads
        told = await asks.commit(repository, text, known=False)
        if told is None:
            return None
        if told.id in heads.values():
            return told.id
        first = heads.get(repository.default_branch)
        tried = list(dict.fromkeys([*([first] if first is not None else []), *heads.values()]))[:MOST_BRANCHES_ASKED]
        for head in tried:
            if await asks.is_reachable(repository, told.id, head, known=False):
                return told.id
        return None


def _branches(repository: Repository, heads: dict[str, str], rules: PreviewRules, most: int) -> dict[str, Preview]:
    """The branches that have previews, by their part of the label: `most` of them, by name."""
    found: dict[str, Preview] = {}
    claimed: set[str] = set()
    for branch, commit in sorted(heads.items()):
        if not rules.shows_branch(branch):
            continue
        part = branch_part(branch, repository.name, repository.owner)
        label = label_of_branch(branch, repository.name, repository.owner)
        if part is None or label is None:
            continue
        if part in claimed:
            found.pop(part, None)  # what two branches could mean is neither's
        elif len(found) < most:
            found[part] = Preview("branch", branch, commit, label)
        claimed.add(part)
    return found


def table_key(key: Key) -> tuple[str, ...]:
    """Under which key memory holds a repository's table."""
    return (_TABLE, *repository_of(key))


def commit_key(key: Key, commit: str) -> tuple[str, ...]:
    """Under which key memory holds a commit as a preview shows it."""
    return ("preview", *repository_of(key), commit)


def _name_key(asked: PreviewLabel) -> tuple[str, ...]:
    return ("preview name", asked.owner, asked.repository)


def _resolved_key(key: Key, text: str) -> tuple[str, ...]:
    return ("preview commit", *repository_of(key), text)


def site_key(key: Key, commit: str) -> Key:
    """The key of a preview's lookup: that of a branch which git does not allow, so that none can be it."""
    owner, repository = repository_of(key)
    return owner, f"{repository}@:{commit}"


def shows_previews(lookup: Lookup) -> bool:
    """Whether a repository has previews at all."""
    return lookup.fault is None and lookup.site is not None and _any(lookup.site.pages_file)


def _any(rules: PagesFile) -> bool:
    return rules.enabled and rules.previews.any


def commit_preview(lookup: Lookup, commit: str) -> Preview:
    """The preview of a commit that was found in the history of a branch."""
    assert lookup.repository is not None
    label = commit_label(commit, lookup.repository.name, lookup.repository.owner)
    return Preview("commit", commit, commit, label or "")
