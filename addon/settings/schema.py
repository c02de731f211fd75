# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The settings: one YAML file, checked as a whole, immutable afterwards.

The fields of `Options` (`option_list.py`) are the table of all options: name in the file, how it is read, default, one
sentence of help, and whether something uses it yet. Options of the Traefik plugin keep its names and defaults. All
problems of a file are told at once, with line and remedy, because whoever runs a server should not have to start it ten
times to learn them.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from addon.settings.addresses import (
    ListenAddress,
    Network,
)
from addon.settings.file import (
    Document,
    Given,
    Problem,
    SettingsError,
    document_from_file,
    document_from_mapping,
    document_from_text,
    shown_name,
)
from addon.settings.option_list import Options
from addon.settings.options import (
    Option,
    Secret,
)
from addon.settings.reader import Reader, Wrong
from addon.settings.rules import complete, contradictions, remarks

__all__ = ["ListenAddress", "Network", "Problem", "Secret", "Settings", "SettingsError", "load"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Options):
    """All options, read and checked, and what follows from them. Made by `load` or `Settings.from_mapping`."""

    forgejo_public_scheme: Literal["http", "https"] | None = None  # as far as forgejoPublicHost was given as a URL
    not_used_yet: tuple[str, ...] = ()  # options that were set and that nothing uses yet
    warnings: tuple[str, ...] = ()  # harmless oddities, one line each

    @property
    def names_redis(self) -> bool:
        """Whether there is a Redis or Valkey to share things in: one server, one behind sentinels, or a cluster."""
        return self.redis_host is not None or self.redis_url is not None or bool(self.redis_sentinels)

    @property
    def names_sentinels(self) -> bool:
        """Whether sentinels say where it is."""
        return bool(self.redis_sentinels) or self._redis_scheme.endswith("+sentinel")

    @property
    def names_cluster(self) -> bool:
        """Whether it is a cluster."""
        return self.redis_cluster or self._redis_scheme.endswith("+cluster")

    @property
    def _redis_scheme(self) -> str:
        return "" if self.redis_url is None else self.redis_url.reveal().partition(":")[0]

    @classmethod
    def from_mapping(
        cls, mapping: Mapping[str, object], *, environ: Mapping[str, str] = os.environ, base: Path | None = None
    ) -> Settings:
        """Settings out of options by their names in the file, relative paths below `base`; raises SettingsError."""
        return _settings(document_from_mapping(mapping), environ, base or Path.cwd())


def load(path: Path, *, environ: Mapping[str, str] = os.environ, text: bytes | None = None) -> Settings:
    """Settings out of a YAML file; raises SettingsError with all that is wrong, and nothing else.

    text: what was in the file when it was read, to be taken instead of what is in it now.
    """
    document = document_from_file(path) if text is None else document_from_text(path, text)
    with suppress(OSError):
        document.open_to_all = bool(path.stat().st_mode & stat.S_IROTH)
    return _settings(document, environ, Path(os.path.abspath(path)).parent)


# --- making one -------------------------------------------------------------------------------------------------------

_FIELDS: dict[str, tuple[str, Option]] = {
    each.metadata["option"].name: (each.name, each.metadata["option"])
    for each in fields(Settings)
    if "option" in each.metadata
}
_DEFAULTS: dict[str, Any] = {each.name: each.default for each in fields(Settings) if each.default is not MISSING}
_SECRET_FILES = {f"{row.name}File": row.name for _, row in _FIELDS.values() if row.kind == "secret"}
_NAMES = {name.lower(): name for name in (*_FIELDS, *_SECRET_FILES)}


def _settings(document: Document, environ: Mapping[str, str], base: Path) -> Settings:
    problems, notes = document.problems, document.warnings
    problems.extend(_unknown(each) for each in document.given if each.name not in _NAMES.values())
    reader = Reader({each.name: each for each in document.given}, environ, base, notes)
    values: dict[str, Any] = {}
    failed: set[str] = set()
    for attribute, row in _FIELDS.values():
        try:
            value = reader.secret(row) if row.kind == "secret" else reader.value(row)
        except Wrong as wrong:
            problems.append(wrong.problem)
            failed.add(row.name)
            continue
        if value is not None:
            values[attribute] = value
        elif row.required and document.complete:
            place = reader.given[row.name].place if row.name in reader.given else document.place
            problems.append(Problem(place, row.name, f"is required: {row.help[0].lower()}{row.help[1:].rstrip('.')}"))
    if reader.written_out and document.open_to_all:
        names = " and ".join(filter(None, (", ".join(reader.written_out[:-1]), reader.written_out[-1])))
        notes.append(
            f"{document.place}: everybody on this machine can read this file, and with it {names}; chmod o-r it"
        )
    not_used_yet = tuple(row.name for attribute, row in _FIELDS.values() if row.later and attribute in values)
    complete(values, _DEFAULTS, environ)
    places = {name: each.place for name, each in reader.given.items()}
    problems.extend(
        Problem(places.get(names[0], document.place), names[0], message)
        for names, message in contradictions({**_DEFAULTS, **values})
        if failed.isdisjoint(names)
    )
    if problems:
        raise SettingsError(problems)
    notes.extend(remarks(values))
    return Settings(**values, not_used_yet=not_used_yet, warnings=tuple(notes))


def _unknown(each: Given) -> Problem:
    name = re.sub("[-_]", "", each.name[:80]).lower()
    nearest = difflib.get_close_matches(name, _NAMES, 1, 0.6)
    if name in _NAMES:
        advice = f"write {_NAMES[name]}"
    elif name.removesuffix("file") in _NAMES:
        advice = f"only a secret can be given as a file; write {_NAMES[name.removesuffix('file')]}"
    elif nearest:
        advice = f"did you mean {_NAMES[nearest[0]]}?"
    else:
        advice = "config/pages.yaml lists them all"
    return Problem(each.place, shown_name(each.name), f"is not an option; {advice}")
