# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""What an option of the settings file is, and how its text becomes a value.

Knows the kinds of values (host names, addresses, sizes, durations …), not the options themselves: those are
`addon.settings.schema`, one line each. Every parser takes *text*, also for numbers and booleans, because a block
copied out of a Traefik file may hold `"300"` where we would write `300`, and because `0123456` must stay what was
written when it is a password.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, cast

T = TypeVar("T")


class Expected(Exception):
    """A text is not what an option takes. Says what was expected and what to do, never what was found."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class Secret:
    """A text that shows itself only when asked to by name: not in a log line, a repr, a format or a pickle."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(
            self._text.encode("utf-8", "surrogatepass"), other._text.encode("utf-8", "surrogatepass")
        )

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is never pickled or copied into another form")


# --- the table's columns ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the table: how an option is called, read and explained."""

    name: str
    parse: Callable[[str], Any]
    help: str
    kind: Literal["text", "list", "secret"] = "text"
    required: bool = False
    nested: Callable[..., Any] | None = None
    later: bool = False


def required(name: str, parse: Callable[[str], T], help: str) -> T:
    """An option without which nothing works."""
    return cast(T, field(metadata={"option": Option(name, parse, help, required=True)}))


def option(name: str, parse: Callable[[str], T], default: T, help: str, *, later: bool = False) -> T:
    """An option with one value. `later`: known and checked, but nothing uses it yet."""
    return field(default=default, metadata={"option": Option(name, parse, help, later=later)})


def computed(name: str, parse: Callable[[str], T], help: str) -> T:
    """An option whose default follows from other options or the environment (`addon.settings.schema` fills it in)."""
    return cast(T, field(metadata={"option": Option(name, parse, help)}))


def listing(
    name: str,
    parse: Callable[[str], Iterable[T]],
    default: tuple[T, ...],
    help: str,
    *,
    nested: Callable[..., T] | None = None,
    later: bool = False,
) -> tuple[T, ...]:
    """An option with many values: a list, or one text with commas. `parse` gives the values of one item.

    nested: reads an item that is a mapping (as `addon.settings.listen_entries` does); without it there can be none.
    """
    row = Option(name, parse, help, kind="list", nested=nested, later=later)
    return field(default=default, metadata={"option": row})


def secret(name: str, check: Callable[[str], object], help: str, *, later: bool = False) -> Secret | None:
    """An option whose value is never shown, and which may also be given as a file (`<name>File`)."""
    row = Option(name, check, help, kind="secret", later=later)
    return cast("Secret | None", field(default=None, repr=False, metadata={"option": row}))


# --- plain values -----------------------------------------------------------------------------------------------------

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def boolean(text: str) -> bool:
    """`true` or `false`, and what YAML 1.1 and Go's decoders take for them."""
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise Expected("true or false") from None


def integer(at_least: int, at_most: int) -> Callable[[str], int]:
    """A parser of whole numbers in a range, both ends included."""
    what = f"a whole number from {at_least} to {at_most}"

    def parse(text: str) -> int:
        # Bounded before int(): a number of 5000 digits raises there.
        if not re.fullmatch(r"[+-]?[0-9]+(_[0-9]+)*", text) or len(text) > 24 or not at_least <= int(text) <= at_most:
            raise Expected(what)
        return int(text)

    return parse


_KIB = 1024
_SIZE = re.compile(r"([0-9][0-9_]{0,15}(?:\.[0-9]{1,9})?)\s*(b|[kmgt](?:i?b)?)?", re.I)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


def size(at_least: int = 0) -> Callable[[str], int]:
    """A parser of sizes, in bytes: a number, or one with a unit.

    `MiB` and the bare letter `M` are powers of 1024 (as in nginx), `MB` is a power of 1000.
    """

    def parse(text: str) -> int:
        match = _SIZE.fullmatch(text)
        if match is None:
            raise Expected('a size in bytes such as 1048576, "256MiB" or "1g"')
        number, unit = match[1].replace("_", ""), (match[2] or "").lower()
        base = 1000 if re.fullmatch("[kmgt]b", unit) else 1024
        found = float(number) if "." in number else int(number)
        result = int(found * base ** _POWERS.get(unit[:1], 0))
        if not at_least <= result < 2**50:
            raise Expected(f"a size from {size_text(at_least)} to 1 PiB")
        return result

    return parse


def size_text(count: int) -> str:
    """A number of bytes as people write it."""
    for unit, factor in (("GiB", _KIB**3), ("MiB", _KIB**2), ("KiB", _KIB)):
        if count >= factor and count % factor == 0:
            return f"{count // factor} {unit}"
    return f"{count} bytes"


_DURATION_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h|d)", re.I)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 10 * 365 * 86400


def duration(at_least: float = 0.0, at_most: float = _LONGEST) -> Callable[[str], float]:
    """A parser of durations, in seconds: a number of seconds, or numbers with units as in `1h30m` or `500ms`."""
    what = 'a number of seconds, or a duration such as "10s", "500ms" or "5m"'

    def parse(text: str) -> float:
        if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text):
            result = float(text)
        else:
            if not re.fullmatch(rf"(?:{_DURATION_PART.pattern}\s*)+", text, re.I):
                raise Expected(what)
            result = sum(float(number) * _SECONDS[unit.lower()] for number, unit in _DURATION_PART.findall(text))
        if not at_least <= result <= at_most:
            raise Expected(f"a duration from {at_least:g} to {at_most:g} seconds")
        return result

    return parse


def whole_seconds(text: str) -> int:
    """A duration for places that know only whole seconds: `max-age`, `SETEX`."""
    result = duration()(text)
    if result != int(result):
        raise Expected("a whole number of seconds")
    return int(result)


def at_least_a_second(text: str) -> int:
    """The same, for what is of no use at zero."""
    result = whole_seconds(text)
    if result < 1:
        raise Expected("at least one second")
    return result


def plain_text(text: str) -> str:
    """Any one line of text."""
    if not text.isprintable():
        raise Expected("one line of text without control characters")
    return text


def one_of(*words: str, **synonyms: str) -> Callable[[str], str]:
    """A parser of one word out of a few, in any case."""

    def parse(text: str) -> str:
        word = synonyms.get(text.lower(), text.lower())
        if word not in words:
            raise Expected(" or ".join([", ".join(words[:-1]), words[-1]]))
        return word

    return parse


def file_path(text: str) -> Path:
    """A path; a relative one is put below the settings file's folder by the caller."""
    if not text.isprintable():
        raise Expected("a path")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise Expected("a path", "there is no home directory for its `~`") from None


def access_log(text: str) -> Path | Literal["stderr"] | None:
    """`off` (None), `stderr`, or a file."""
    word = text.lower()
    if word in ("off", "false", "no", "none"):
        return None
    if word == "stderr":
        return "stderr"
    if word in ("on", "true", "yes", "stdout", "-"):
        raise Expected("off, stderr, or a file's path")
    return file_path(text)


def repository_name(text: str) -> str:
    """`owner/repo`, in the characters that Forgejo allows for both."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}/[A-Za-z0-9_.-]{1,100}", text):
        raise Expected("owner/repository", "without the server's address" if "://" in text else "")
    if text.partition("/")[2] in (".", ".."):
        raise Expected("owner/repository")
    return text


def plain_repositories(text: str) -> list[str]:
    """Names of repositories, without an owner, in the characters that Forgejo allows; with commas between."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name) or name in (".", ".."):
            raise Expected("the name of a repository, such as .profile", "without an owner" if "/" in name else "")
    return names


def branches(text: str) -> list[str]:
    """Names of branches, with commas between."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if not re.fullmatch(r"(?!-)[!-~]{1,250}", name) or set(name) & set("~^:?*[\\") or ".." in name:
            raise Expected("the name of a branch, such as gh-pages")
    return names


def client_id(text: str) -> str:
    """The name by which Forgejo knows an application: a UUID there, and never more than visible ASCII."""
    if not re.fullmatch(r"[A-Za-z0-9._~-]{1,200}", text):
        raise Expected("the client ID that Forgejo shows, such as 3a614e2f-42f2-4a0c-9a45-abc592e43f9a")
    return text


def url_path(text: str) -> str:
    """A path on our own host, such as `/.pages/webhook`."""
    if not re.fullmatch(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*|/\.[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+", text):
        raise Expected("a path such as /.pages/webhook, without a trailing slash")
    return text


# --- secrets ----------------------------------------------------------------------------------------------------------


def any_secret(text: str) -> None:
    """One line; what it means is for its user to say."""
    if re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", text):
        raise Expected("one line of text without control characters")


def token(text: str) -> None:
    """A secret that travels in a header: visible ASCII, or it could end the header and begin another."""
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise Expected("a token of visible ASCII characters, without spaces")


def redis_url(text: str) -> None:
    """The address of a Redis or Valkey, which may hold its password."""
    any_secret(text)
    if not re.match(r"(?:(?:redis|rediss|valkey|valkeys)(?:\+sentinel|\+cluster)?|unix)://", text):
        names = "redis://, rediss://, valkey://, valkeys:// or unix://"
        raise Expected(f"an address that begins with {names} (or redis+sentinel://, redis+cluster:// and so on)")
