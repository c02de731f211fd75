# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who and what is on the forge: owners, repositories, renames, tokens, and who may read what.

Repositories are `ROOT/OWNER/NAME.git`, found anew when a folder changes, and sources given by hand. Names match
without regard to case and are answered in their own. A rename moves no folder: the old name leads to the new one,
and the new one to the old folder.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypedDict, Unpack

from addon.preview.objects import DulwichMissing
from addon.preview.repository import GitDirectory, Repository, Source
from addon.preview.settings import Application, OwnerSettings, RepositorySettings, Token

log = logging.getLogger(__name__)
_TICK_NS = 50_000_000


class Owner(NamedTuple):
    name: str
    settings: OwnerSettings
    id: int


class Place(NamedTuple):
    """A repository that exists, under its canonical names."""

    owner: Owner
    name: str
    id: int
    settings: RepositorySettings
    repository: Repository

    @property
    def full_name(self) -> str:
        return f"{self.owner.name}/{self.name}"


class Viewer(NamedTuple):
    """Who asks; `user` is None for the anonymous."""

    user: str | None = None
    token: Token | None = None

    @property
    def signed_in(self) -> bool:
        return self.user is not None


ANONYMOUS = Viewer()


@dataclass(frozen=True)
class _Located:
    owner: str
    name: str
    at: Path | Source


class Known(TypedDict, total=False):
    """What is known of what lies below the folder: by the names of owners, by `OWNER/NAME`, and tokens by secret."""

    owners: Mapping[str, OwnerSettings] | None
    repositories: Mapping[str, RepositorySettings] | None
    renames: Mapping[str, str] | None
    tokens: Mapping[str, Token] | None


class Registry:
    """Finds owners and repositories; all of its settings may be changed at any time."""

    def __init__(self, root: Path | None = None, **known: Unpack[Known]) -> None:
        self.root = root
        self.tokens = dict(known.get("tokens") or {})
        self.applications: dict[str, Application] = {}
        self.bearer: Callable[[str], Token | None] = lambda secret: None
        """The token that an OAuth2 login gave, if it is still good."""
        self._owner_settings = {name.lower(): (name, one) for name, one in (known.get("owners") or {}).items()}
        self._settings = {name.lower(): one for name, one in (known.get("repositories") or {}).items()}
        self._renames = {old.lower(): new for old, new in (known.get("renames") or {}).items()}
        self._given: dict[str, _Located] = {}
        self._ids = itertools.count(1)
        self._owner_ids: dict[str, int] = {}
        self._opened: dict[Path, tuple[tuple[int, int], Repository]] = {}
        self._given_repositories: dict[str, Repository] = {}
        self._scanned: tuple[object, dict[str, _Located]] | None = None
        self._located: dict[str, _Located] = {}
        self._owners: dict[str, str] = {}
        self.refresh()

    def add(self, owner: str, name: str, source: Source, settings: RepositorySettings | None = None) -> None:
        """Puts a source on the forge as `owner/name`."""
        key = f"{owner}/{name}".lower()
        self._given[key] = _Located(owner, name, source)
        self._given_repositories[key] = Repository(source)
        self.refresh()
        if settings is not None:
            self._settings[key] = settings

    def settings(self, full_name: str) -> RepositorySettings:
        """The settings of `owner/name`, to be read or changed."""
        return self._settings.setdefault(full_name.lower(), RepositorySettings())

    def owner_settings(self, name: str) -> OwnerSettings:
        """The settings of an owner, to be read or changed."""
        return self._owner_settings.setdefault(name.lower(), (name, OwnerSettings()))[1]

    def rename(self, old: str, new: str) -> None:
        """Renames or transfers `owner/name`, or renames an owner (a name without slash)."""
        self._renames[old.lower()] = new
        if "/" in old and old.lower() in self._settings:  # its number goes along, which tells that it is the same
            self._settings[new.lower()] = self._settings.pop(old.lower())
        if "/" not in old and old.lower() in self._owner_settings:  # whose rights go along as well, being by number
            self._owner_settings[new.lower()] = (new, self._owner_settings.pop(old.lower())[1])
            for one in self._settings.values():
                for rights in ("readers", "writers", "no_code"):
                    setattr(one, rights, frozenset(new if name == old else name for name in getattr(one, rights)))
        self._scanned = None
        self.refresh()

    def renamed(self, old: str) -> str | None:
        """The new name of a renamed owner or `owner/name`."""
        return self._renames.get(old.lower())

    def owner(self, name: str) -> Owner | None:
        """The owner of that name; one with neither repositories nor settings does not exist."""
        key = name.lower()
        if key in self._renames:
            return None
        known = self._owner_settings.get(key)
        canonical = known[0] if known else None
        if canonical is None:
            canonical = self._owners.get(key)
        if canonical is None:
            return None
        settings = self.owner_settings(canonical)
        number = settings.id if settings.id is not None else self._owner_ids.setdefault(key, len(self._owner_ids) + 1)
        return Owner(canonical, settings, number)

    def people(self) -> list[str]:
        """The names of all owners that have settings."""
        return [name for name, _ in self._owner_settings.values()]

    def owner_by_email(self, email: str) -> Owner | None:
        """The user whose address that is."""
        names = {one.owner for one in self._located.values()} | {name for name, _ in self._owner_settings.values()}
        for name in sorted(names):
            owner = self.owner(name)
            if owner is not None and not owner.settings.organisation and self.email(owner) == email.lower():
                return owner
        return None

    def email(self, owner: Owner) -> str:
        return owner.settings.email or f"{owner.name.lower()}@example.org"

    def find(self, owner: str, name: str) -> Place | None:
        """The repository of exactly that name (case aside), not following renames."""
        key = f"{owner}/{name}".lower()
        located = self._located.get(key)
        return self._place(located) if located else None

    def places(self) -> Iterator[Place]:
        """All repositories, by id."""
        found = [place for one in list(self._located.values()) if (place := self._place(one)) is not None]
        return iter(sorted(found, key=lambda place: place.id))

    def can_read(self, place: Place, viewer: Viewer) -> bool:
        """Whether the viewer may read a repository's code (models/perm/access in Forgejo)."""
        owner, settings = place.owner, place.settings
        if viewer.token is not None and viewer.token.admin:
            return True
        if viewer.token is not None and viewer.token.public_only and settings.private:
            return False
        if viewer.user is not None and self.belongs(place, viewer.user):
            return True
        if settings.private:
            return False
        if owner.settings.visibility == "public":
            return True
        return owner.settings.visibility == "limited" and viewer.signed_in

    def belongs(self, place: Place, user: str) -> bool:
        """Whether the user owns the repository or is a member or collaborator."""
        settings = place.settings
        return self.administers(place, user) or user in settings.readers | settings.writers | settings.no_code

    def sees_code(self, place: Place, viewer: Viewer) -> bool:
        """Whether the viewer, who may see the repository, may see its code unit as well."""
        user = viewer.user
        rest = self.administers(place, user or "") or user in place.settings.readers | place.settings.writers
        return user not in place.settings.no_code or rest

    def administers(self, place: Place, user: str) -> bool:
        return user.lower() == place.owner.name.lower() or user in place.owner.settings.members

    def close(self) -> None:
        for _, repository in self._opened.values():
            repository.source.close()
        self._opened.clear()
        for repository in self._given_repositories.values():
            repository.source.close()

    def _place(self, located: _Located) -> Place | None:
        owner = self.owner(located.owner)
        if owner is None:
            return None
        key = f"{located.owner}/{located.name}".lower()
        if isinstance(located.at, Path):
            repository = self._open(located.at)
            if repository is None:
                return None
        else:
            repository = self._given_repositories[key]
        settings = self.settings(key)
        if settings.id is None:
            settings.id = next(self._ids)
        return Place(owner, located.name, settings.id, settings, repository)

    def _open(self, path: Path) -> Repository | None:
        try:
            signature = path.stat().st_ino, (path / "config").stat().st_mtime_ns
        except OSError:
            return None
        known = self._opened.get(path)
        if known is not None and known[0] == signature:
            return known[1]
        if known is not None:
            known[1].source.close()
        try:
            repository = Repository(GitDirectory(path))
        except DulwichMissing:
            raise
        except Exception as error:  # whatever a broken folder makes of the library
            log.warning("%s cannot be read as a git repository and is left out: %r", path, error)
            return None
        self._opened[path] = signature, repository
        return repository

    def refresh(self) -> None:
        """Looks for repositories that came or went; costs a stat per owner when none did."""
        found: dict[str, _Located] = {}
        if self.root is not None:
            folders: list[tuple[str, str]] = []
            with suppress(FileNotFoundError):
                folders = sorted((entry.name, entry.path) for entry in os.scandir(self.root) if entry.is_dir())
            state = [(path, os.stat(path).st_mtime_ns) for _, path in folders]
            if self._scanned is None or self._scanned[0] != state:
                found = dict(self._scan(folders))
                # Two changes within one tick of the file system's clock look like one: too young a scan is not kept.
                newest = max((changed for _, changed in state), default=0)
                self._scanned = (state, found) if newest + _TICK_NS < time.time_ns() else None
            else:
                found = self._scanned[1]
        self._located = found | self._given
        self._owners = {one.owner.lower(): one.owner for one in self._located.values()}

    def _scan(self, owners: list[tuple[str, str]]) -> Iterator[tuple[str, _Located]]:
        for owner, folder in owners:
            for entry in sorted(os.scandir(folder), key=lambda one: one.name):
                if not entry.name.endswith(".git") or not entry.is_dir():
                    continue
                name = entry.name.removesuffix(".git")
                new_owner, name = self._present_name(owner, name)
                yield f"{new_owner}/{name}".lower(), _Located(new_owner, name, Path(entry.path))

    def _present_name(self, owner: str, name: str) -> tuple[str, str]:
        """The names of today for a folder's names: renames follow one another, each is used once."""
        used: set[str] = set()
        while True:
            for key in (f"{owner}/{name}".lower(), owner.lower()):
                new = self._renames.get(key)
                if new is not None and key not in used:
                    used.add(key)
                    owner, name = new.split("/", 1) if "/" in key else (new, name)
                    break
            else:
                return owner, name
