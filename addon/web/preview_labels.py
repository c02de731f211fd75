# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The labels of deploy previews: `{branch}--{repository}--{owner}`, `{commit}--…`, `pr-{number}--…`. Pure.

One label for each preview, so that one wildcard certificate serves all and each is an origin of its own. A part is the
name itself where that is letters, digits and single hyphens. Owners and repositories of other names are coded so that
they can be read back (`x-…`, punycode), for nothing but the label says whose preview it is. What has no room, and
branches of other names, are shortened with a hash (`feature-x-0k7q2mzp4`), always the same; who resolves one compares
it with the names there are, and what two names could mean is nobody's. The surprise: a plain name that looks coded or
shortened is coded or shortened itself, so that no name can be another's label.
"""

import base64
import hashlib
import re
from typing import Literal, NamedTuple

from addon.web.routing import is_owner_name, is_repository_name

LONGEST = 63
"""Characters of a label (RFC 1035 §2.3.4)."""
SHORTEST_COMMIT = 10
"""Hexadecimals of a commit, at least."""
_SEPARATOR = "--"
_CODED = "x-"
_ROOM_BESIDE = 13
"""Characters that a repository leaves for what stands before it, where it can: `pr-1234567890`."""
_HASH = 9
_PLAIN = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_SHORTENED = re.compile(r"(?:[a-z0-9-]+-)?0[a-z2-7]{8}")
_PULL = re.compile(r"pr-([1-9][0-9]{0,9})")
_COMMIT = re.compile(r"[0-9a-f]{10,64}")
_OTHER = re.compile(r"[^a-z0-9]+")
_TO_CODE = str.maketrans({"-": "\x80", ".": "\x81", "_": "\x82"})
_FROM_CODE = str.maketrans({"\x80": "-", "\x81": ".", "\x82": "_"})


class PreviewLabel(NamedTuple):
    """What a label asks for. text: the branch's part, the commit's first hexadecimals, or the pull request's number.

    repository: its name in lower case, or, where `shortened`, what `repository_part` makes of it.
    """

    kind: Literal["branch", "commit", "pull"]
    text: str
    owner: str
    repository: str
    shortened: bool

    @property
    def first(self) -> str:
        """What stands before repository and owner."""
        return f"pr-{self.text}" if self.kind == "pull" else self.text


def read(label: str) -> PreviewLabel | None:
    """What a label (lower case) asks for; None where it is none of ours."""
    parts = label.split(_SEPARATOR)
    if len(parts) != 3 or len(label) > LONGEST or label.startswith("xn--"):
        return None
    first, repository, owner = parts
    name = _decoded(owner)
    if name is None or not is_owner_name(name) or owner_part(name) != owner:
        return None
    shortened = _SHORTENED.fullmatch(repository) is not None
    called = repository if shortened else _decoded(repository)
    if called is None or (not shortened and repository_part(called, name) != repository):
        return None
    pull = _PULL.fullmatch(first)
    if pull is not None:
        return PreviewLabel("pull", pull[1], name, called, shortened)
    if _COMMIT.fullmatch(first):
        return PreviewLabel("commit", first, name, called, shortened)
    return PreviewLabel("branch", first, name, called, shortened) if _PLAIN.fullmatch(first) else None


def owner_part(owner: str) -> str | None:
    """How an owner stands in a label; None where no label has room for it."""
    part = _coded(owner.lower())
    return part if len(part) <= LONGEST - 2 * len(_SEPARATOR) - SHORTEST_COMMIT - _HASH else None


def repository_part(repository: str, owner: str) -> str | None:
    """How a repository stands in the labels of this owner; None where there is no room."""
    whose, name = owner_part(owner), repository.lower()
    if whose is None or not is_repository_name(name):
        return None
    room = max(_HASH, LONGEST - 2 * len(_SEPARATOR) - len(whose) - _ROOM_BESIDE)
    part = _coded(name)
    return part if len(part) <= room and not _SHORTENED.fullmatch(part) else _shortened(name, room)


def pull_label(number: int, repository: str, owner: str) -> str | None:
    """The label of a pull request; None where it has no room."""
    return _label(f"pr-{number}", repository, owner)


def commit_label(commit: str, repository: str, owner: str) -> str | None:
    """The label of a commit; None where it has no room."""
    return _label(commit[:SHORTEST_COMMIT], repository, owner)


def branch_label(branch: str, repository: str, owner: str) -> str | None:
    """The label of a branch; None where it has no room."""
    part = branch_part(branch, repository, owner)
    return None if part is None else _label(part, repository, owner)


def branch_part(branch: str, repository: str, owner: str) -> str | None:
    """How a branch stands in the labels of this repository; names of branches count by case."""
    end = _end(repository, owner)
    if end is None:
        return None
    room = LONGEST - len(end)
    plain = len(branch) <= room and _PLAIN.fullmatch(branch) is not None and branch != "xn"
    if plain and not any(form.fullmatch(branch) for form in (_PULL, _COMMIT, _SHORTENED)):
        return branch
    return _shortened(branch, room)


def _label(first: str, repository: str, owner: str) -> str | None:
    end = _end(repository, owner)
    return f"{first}{end}" if end is not None and len(first) + len(end) <= LONGEST else None


def _end(repository: str, owner: str) -> str | None:
    called, whose = repository_part(repository, owner), owner_part(owner)
    return None if called is None or whose is None else f"{_SEPARATOR}{called}{_SEPARATOR}{whose}"


def _coded(name: str) -> str:
    """A name of letters, digits, `-`, `.` and `_` as a part that can be read back, and holds no `--`."""
    if _PLAIN.fullmatch(name) and not name.startswith(_CODED):
        return name
    return _CODED + name.translate(_TO_CODE).encode("punycode").decode("ascii")


def _decoded(part: str) -> str | None:
    if not _PLAIN.fullmatch(part):
        return None
    if not part.startswith(_CODED):
        return part
    try:
        name = part[len(_CODED) :].encode("ascii").decode("punycode")
    except UnicodeError:
        return None
    if any(not (character.isascii() or character in "\x80\x81\x82") for character in name):
        return None
    name = name.translate(_FROM_CODE)
    return name if _coded(name) == part else None


def _shortened(name: str, room: int) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:5]
    tail = "0" + base64.b32encode(digest).decode("ascii").lower()
    # Before the cut, what may be cut: a branch's name has up to a thousand characters.
    words = _OTHER.sub("-", name[: 4 * LONGEST].lower()).strip("-")[: max(0, room - _HASH - 1)].strip("-")
    return f"{words}-{tail}" if words else tail
