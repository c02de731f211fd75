# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""From what callers give to the arguments of a command on the wire, and what is known of commands by their names.

Pure functions, the same for every command that needs them: expiry options, times, limits, lists of keys; `resp.replies`
is the other side. Surprising: a reply of a form that nobody expects becomes a ProtocolError (see `converted`), so that
not even a broken server makes a TypeError or a ValueError come out of a call.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from resp.argument_types import Convert, Key, Keys, Moment, Number, Pattern, Seconds
from resp.command_kinds import command_name
from resp.encoding import Argument
from resp.errors import InvalidArgument, ProtocolError, RespError, ServerError
from resp.values import Value, text


def converted(reply: Value, convert: Convert | None) -> Value:
    """`convert(reply)`; errors in the reply stay, a reply that does not fit is a ProtocolError."""
    if convert is None or isinstance(reply, RespError):
        return reply
    try:
        return convert(reply)
    except RespError:
        raise
    except Exception as error:
        raise ProtocolError(f"the server answered in an unexpected form ({type(error).__name__})") from None


def result(reply: Value, args: Sequence[Argument], decode: bool, convert: Convert | None) -> Any:
    """The reply to a command as the caller gets it; raised, with the command's name, if it is an error.

    No frame keeps a reference to what is raised (see `resp.client`); the caller's must not, either.
    """
    if isinstance(reply, ServerError):
        reply.command = command_name(args[0])
        try:
            raise reply
        finally:
            del reply
    if decode:
        reply = text(reply)
    return reply if convert is None else converted(reply, convert)


# ---- what arguments mean ---------------------------------------------------------------------------------------------


def words(keys: Keys, more: tuple[Argument, ...] = ()) -> list[Argument]:
    """One argument, or several, or a list of them, as redis-py takes them; a str or bytes is one."""
    if isinstance(keys, str | bytes | bytearray | memoryview | int | float):
        return [keys, *more]
    if keys is None or not isinstance(keys, Iterable):
        raise InvalidArgument(f"expected a key or several, not {keys!r}")
    return [*keys, *more]


def at_least_one(found: list[Argument], what: str = "key") -> list[Argument]:
    if not found:
        raise InvalidArgument(f"at least one {what} is needed")
    return found


def option(name: str, value: Argument | None) -> list[Argument]:
    """An option and its value, or nothing."""
    return [] if value is None else [name, value]


def counted(keys: Keys, what: str = "key") -> list[Argument]:
    """Several keys, their number first."""
    found = at_least_one(words(keys), what)
    return [len(found), *found]


def numkeys_of(number: int, keys: Keys) -> list[Argument]:
    """The same where redis-py has the caller count; a wrong number is found here instead of at the server."""
    found = at_least_one(words(keys))
    if str(number) != str(len(found)):
        raise InvalidArgument(f"{number} keys were announced and {len(found)} were given")
    return [len(found), *found]


def weighted(keys: Any) -> tuple[list[Argument], list[Argument]]:
    """Keys, their number first, and the words for their weights, if they came as `{key: weight}`."""
    if isinstance(keys, Mapping):
        return counted(list(keys)), ["WEIGHTS", *keys.values()]
    return counted(keys), []


def one_of(given: Argument, *allowed: str) -> str:
    """A word that must be one of a few, in capitals."""
    word = str(given, "ascii", "replace") if isinstance(given, bytes | bytearray | memoryview) else given
    word = word.upper() if isinstance(word, str) else ""
    if word not in allowed:
        raise InvalidArgument(f"expected one of {', '.join(allowed)}")
    return word


def seconds(value: Seconds) -> int:
    """A span of time in seconds, as int or timedelta."""
    if isinstance(value, datetime.timedelta):
        return int(value.total_seconds())
    return _whole(value)


def milliseconds(value: Seconds) -> int:
    """A span of time in milliseconds, as int or timedelta."""
    if isinstance(value, datetime.timedelta):
        return value // datetime.timedelta(milliseconds=1)
    return _whole(value)


def moment(value: Moment, scale: int) -> int:
    if isinstance(value, datetime.datetime):
        return int(value.timestamp() * scale)
    return _whole(value)


def _whole(value: object) -> int:
    if isinstance(value, bool):
        raise InvalidArgument("a time must be a number, not a bool")
    if isinstance(value, int):
        return value
    if isinstance(value, str | bytes) and value.isdigit():
        return int(value)
    raise InvalidArgument(f"a time must be an int or a timedelta, not {type(value).__name__}")


def expiry(
    other: bool, name: str, ex: Any = None, px: Any = None, exat: Any = None, pxat: Any = None
) -> list[Argument]:
    """The options that say how long a value lives, `other` being one without a value; one of them at most."""
    options: list[Argument] = []
    if ex is not None:
        options += ["EX", seconds(ex)]
    if px is not None:
        options += ["PX", milliseconds(px)]
    if exat is not None:
        options += ["EXAT", moment(exat, 1)]
    if pxat is not None:
        options += ["PXAT", moment(pxat, 1000)]
    if other:
        options.append(name)
    if len(options) > 2:
        raise InvalidArgument(f"only one of ex, px, exat, pxat and {name.lower()} can be given")
    return options


def comparison(ifeq: Any, ifne: Any, ifdeq: Any, ifdne: Any) -> list[Argument]:
    """The condition that the old value, or its digest, is or is not this; one of them at most."""
    given = (("IFEQ", ifeq), ("IFNE", ifne), ("IFDEQ", ifdeq), ("IFDNE", ifdne))
    options: list[Argument] = [word for name, value in given if value is not None for word in (name, value)]
    if len(options) > 2:
        raise InvalidArgument("only one of ifeq, ifne, ifdeq and ifdne can be given")
    return options


def conditions(nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False) -> list[Argument]:
    return [name for name, wanted in (("NX", nx), ("XX", xx), ("GT", gt), ("LT", lt)) if wanted]


def flat(mapping: Mapping[Any, Argument]) -> list[Argument]:
    if not isinstance(mapping, Mapping):
        raise InvalidArgument(f"expected a mapping, not {type(mapping).__name__}")
    if not mapping:
        raise InvalidArgument("the mapping is empty")
    return [word for pair in mapping.items() for word in pair]


def scan_words(head: tuple[Argument, ...], match: Pattern, count: Number, kind: str | None = None) -> list[Argument]:
    args = list(head)
    if match is not None:
        args += ["MATCH", match]
    if count is not None:
        args += ["COUNT", count]
    if kind is not None:
        args += ["TYPE", kind]
    return args


def some_of(command: str, key: Key, count: Number, more: str | None) -> list[Argument]:
    """Some member or field of a key, or `count` of them, with `more` told of each."""
    if count is None:
        if more is not None:
            raise InvalidArgument(f"{more.lower()} needs a count")
        return [command, key]
    return [command, key, count, *([] if more is None else [more])]


def limited(args: list[Argument], start: int | None, num: int | None, withscores: bool = False) -> list[Argument]:
    if (start is None) != (num is None):
        raise InvalidArgument("a limit needs both its start and its number")
    if start is not None and num is not None:
        args += ["LIMIT", start, num]
    if withscores:
        args.append("WITHSCORES")
    return args
