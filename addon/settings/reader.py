# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""From what a settings file gives to values: the environment, the files that hold secrets, and each option's parser.

Knows how an option is read, not which options there are. A message shows what was found only where that cannot be a
secret: never what came out of the environment or stands in a secret's place, because people paste in the wrong line.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from addon.settings.file import Given, Nested, Place, Problem, Value, shown_path
from addon.settings.options import Expected, Option, Secret, file_path

_SECRET_FILE_MOST_BYTES = 64 * 1024


class Wrong(Exception):
    """What stands at a place is not what its option takes."""

    def __init__(self, place: Place, option: str, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(place, option, message)


@dataclass(frozen=True, slots=True)
class Reader:
    """From what is given, the environment and the files that it names, to values."""

    given: Mapping[str, Given]
    environ: Mapping[str, str]
    base: Path
    notes: list[str]
    written_out: list[str] = field(default_factory=list)
    """Secrets that stand in the settings themselves."""

    def value(self, row: Option) -> Any:
        """The value of an option that is no secret; None if it is not set, or set to nothing."""
        each = self.given.get(row.name)
        if each is None or each.value is None:
            return None
        if row.kind == "text":
            text = self._expanded(each, each.value).strip()
            return self._parsed(each, row, text, each.value) if text else None
        items = each.value if type(each.value) is tuple else (each.value,)
        results: list[Any] = []
        for item in items:
            if row.nested is not None and isinstance(item, Nested) and item.inside is not None:
                results.append(row.nested(item, each.place, partial(self._member, each), self.base, self.notes))
                continue
            texts = [text.strip() for text in self._expanded(each, item).split(",")]
            if items == (each.value,):
                texts = [text for text in texts if text]
                if not texts:
                    return None
            results += [result for text in texts for result in self._parsed(each, row, text, item)]
        return tuple(results)

    def secret(self, row: Option) -> Secret | None:
        """The value of a secret, out of the settings, the environment or a file; None if it is not set."""
        direct, file = self.given.get(row.name), self.given.get(f"{row.name}File")
        if direct is not None and direct.value is None:
            direct = None
        if file is not None and file.value is not None:
            if direct is not None:
                raise Wrong(file.place, file.name, f"is given beside {direct.name}: keep one of the two")
            each, text = file, self._content(file)
        elif direct is not None:
            each, text = direct, self._expanded(direct, direct.value, hidden=True)
            if text == direct.value and text:
                self.written_out.append(direct.name)
            elif text != direct.value:
                text = text.rstrip("\r\n")
                if not text:
                    self.notes.append(f"{direct.place}: {direct.name} is empty, because its environment variable is")
            if not text:
                return None
        else:
            return None
        try:
            row.parse(text)
        except Expected as wrong:
            raise Wrong(each.place, each.name, f"expected {wrong.what} (what was found is not shown)") from None
        return Secret(text)

    def _member(self, each: Given, place: Place, value: Value) -> str:
        """A text inside of an entry that stands at a place of its own."""
        return self._expanded(each._replace(place=place), value)

    def _parsed(self, each: Given, row: Option, text: str, written: Value) -> Any:
        try:
            result = row.parse(text)
        except Expected as wrong:
            if isinstance(written, str) and text in written:
                found = _shown(text)
                hint = f"; {wrong.hint}" if 0 < len(wrong.hint) < 160 else ""  # one may repeat a text of any length
            else:  # the environment's content may be a secret in the wrong place
                found, hint = f"the content of {_shown(str(written))}", ""
            raise Wrong(each.place, each.name, f"expected {wrong.what}, found {found}{hint}") from None
        return self.base / result if isinstance(result, Path) else result

    def _content(self, file: Given) -> str:
        text = self._expanded(file, file.value, hidden=True).strip()
        # What stands here may be the secret itself: it is a path, and shown, only where something of it is there.
        where = "" if text.startswith(("/", "~")) else f" in {shown_path(self.base)}"
        if self._is_there(text):
            where = f": {shown_path(self.base / file_path(text))}"
        try:
            with (self.base / file_path(text or "/")).open("rb") as opened:
                data = opened.read(_SECRET_FILE_MOST_BYTES + 1)
                if os.fstat(opened.fileno()).st_mode & stat.S_IROTH:
                    self.notes.append(
                        f"{file.place}: {file.name}: everybody on this machine can read that file; chmod o-r it"
                    )
            content = data.decode("utf-8-sig").rstrip("\r\n")
        except OSError as error:
            message = f"expected a file that can be read: {error.strerror or 'no such file'}{where}"
            raise Wrong(file.place, file.name, message) from None
        except (Expected, ValueError):
            raise Wrong(file.place, file.name, "expected the path of a file that holds UTF-8 text") from None
        if not content or len(data) > _SECRET_FILE_MOST_BYTES:
            problem = "is empty" if not content else "is larger than 64 KiB"
            raise Wrong(file.place, file.name, f"expected a file that holds the secret alone; it {problem}")
        return content

    def _is_there(self, text: str) -> bool:
        """Whether a path leads to something, or into a folder that exists."""
        try:
            found = file_path(text or "/")
            folders = (
                found.parts[: 2 if found.is_absolute() else 1] if len(found.parts) > 1 + found.is_absolute() else ()
            )
            return os.path.lexists(self.base / found) or bool(folders and os.path.lexists(self.base.joinpath(*folders)))
        except (Expected, ValueError):
            return False

    def _expanded(self, each: Given, value: Value, *, hidden: bool = False) -> str:
        """A text with each `${NAME}` replaced by that environment variable; `$${` stands for `${`."""
        if not isinstance(value, str):
            found = value.kind if isinstance(value, Nested) else "nothing" if value is None else "a list"
            raise Wrong(each.place, each.name, f"expected a text or a number, found {found}")

        def replaced(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            name = match[1]
            if not name:
                message = (
                    "expected ${NAME} with the name of an environment variable; write $${ where ${ itself is meant"
                )
                raise Wrong(each.place, each.name, message)
            content = self.environ.get(name)
            if content is None:
                # A lower-case word in a secret's place may be the secret itself.
                shown = (
                    f"the environment variable {name}" if not hidden or name.isupper() else "its environment variable"
                )
                raise Wrong(each.place, each.name, f"{shown} is not set")
            return content

        return re.sub(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)\})?", replaced, value)


def _shown(text: str) -> str:
    """A value fit for one line of a message, without the user name and password that a URL may hold."""
    _, at, rest = text.rpartition("@")
    text = f"…@{rest}" if at else text
    return repr(text if len(text) <= 80 else f"{text[:80]}…")
