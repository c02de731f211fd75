# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""From arguments to the words of a command, and from its reply to a result.

Pure functions, the same for every command that needs them: expiry options, times, limits on one side; dicts, scores
and INFO on the other. Replies mean the same over RESP2 and RESP3. Surprising: a reply of a form that nobody expects
becomes a ProtocolError (see `converted`), so that not even a broken server makes a TypeError or a ValueError come out
of a call.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from resp.encoding import Argument
from resp.errors import InvalidArgument, ProtocolError, RespError, ServerError
from resp.values import Value

Key = Argument
Keys = Argument | Iterable[Argument]
#: How a reply becomes the result; None: as it is.
Convert = Callable[[Any], Any]
Seconds = int | datetime.timedelta
Moment = int | datetime.datetime


def converted(reply: Value, convert: Convert | None) -> Value:
    """`convert(reply)`; errors in the reply stay, a reply that does not fit is a ProtocolError."""
    if convert is None or isinstance(reply, ServerError):
        return reply
    try:
        return convert(reply)
    except RespError:
        raise
    except Exception as error:
        raise ProtocolError(f"the server answered in an unexpected form ({type(error).__name__})") from None


# ---- what replies mean -----------------------------------------------------------------------------------------------


def as_text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def is_ok(reply: Any) -> bool:
    return reply in (b"OK", "OK")


def ok_or_none(reply: Any) -> Any:
    return True if reply in (b"OK", "OK") else None if reply is None else reply


def as_float(reply: Any) -> float | None:
    return None if reply is None else float(reply)


def as_floats(reply: Any) -> list[float | None]:
    return [as_float(item) for item in reply]


def as_pairs(reply: Any) -> dict[Any, Any]:
    return dict(reply) if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def as_scored(reply: Any) -> list[tuple[Any, float]]:
    """Members with scores: flat over RESP2, in pairs over RESP3."""
    if reply and isinstance(reply[0], list):
        return [(member, float(score)) for member, score in reply]
    return [(member, float(score)) for member, score in zip(reply[::2], reply[1::2], strict=True)]


def as_popped(reply: Any) -> list[tuple[Any, float]]:
    # Over RESP3 a single member comes without the outer array.
    if len(reply) == 2 and not isinstance(reply[0], list):
        return [(reply[0], float(reply[1]))]
    return as_scored(reply)


def as_scan(reply: Any) -> tuple[int, Any]:
    cursor, items = reply
    return int(cursor), items


def as_scan_pairs(reply: Any) -> tuple[int, Any]:
    cursor, items = reply
    return int(cursor), as_pairs(items)


def as_scan_scores(reply: Any) -> tuple[int, Any]:
    cursor, items = reply
    return int(cursor), as_scored(items)


def as_time(reply: Any) -> tuple[int, int]:
    seconds, micros = reply
    return int(seconds), int(micros)


def _number_or_text(text: str) -> Any:
    for kind in (int, float):
        # `1_000`, `nan` and `infinity` are texts to a server.
        if text[:1].isdigit() or text[:1] == "-":
            try:
                return text if "_" in text else kind(text)
            except ValueError:
                continue
    return text


def parse_info(reply: Any) -> dict[str, Any]:
    """The reply to INFO: field → int, float or str; `a=1,b=2` becomes a dict of its own, as in `db0`."""
    found: dict[str, Any] = {}
    for line in as_text(reply).splitlines():
        name, colon, value = line.partition(":")
        if not colon or line.startswith("#"):
            continue
        fields = [field.partition("=") for field in value.split(",")]
        if "=" in value and all(equals for _, equals, _ in fields):
            found[name] = {field: _number_or_text(text) for field, _, text in fields}
        else:
            found[name] = _number_or_text(value)
    return found


def as_client(line: str) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in line.split(" ") if word)


def as_clients(reply: Any) -> list[dict[str, str]]:
    return [as_client(line) for line in as_text(reply).splitlines() if line]


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


def expiry(ex: Any, px: Any, exat: Any, pxat: Any, other: bool, name: str) -> list[Argument]:
    """The options that say how long a value lives; one of them at most."""
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
    if len(options) > 2 or (other and len(options) > 1):
        raise InvalidArgument(f"only one of ex, px, exat, pxat and {name.lower()} can be given")
    return options


def conditions(nx: bool, xx: bool, gt: bool, lt: bool) -> list[Argument]:
    return [name for name, wanted in (("NX", nx), ("XX", xx), ("GT", gt), ("LT", lt)) if wanted]


def flat(mapping: Mapping[Any, Argument]) -> list[Argument]:
    if not isinstance(mapping, Mapping):
        raise InvalidArgument(f"expected a mapping, not {type(mapping).__name__}")
    if not mapping:
        raise InvalidArgument("the mapping is empty")
    return [word for pair in mapping.items() for word in pair]


def scan_words(
    head: tuple[Argument, ...], match: Argument | None, count: int | None, kind: str | None = None
) -> list[Argument]:
    args = list(head)
    if match is not None:
        args += ["MATCH", match]
    if count is not None:
        args += ["COUNT", count]
    if kind is not None:
        args += ["TYPE", kind]
    return args


def limited(args: list[Argument], start: int | None, num: int | None, withscores: bool) -> list[Argument]:
    if (start is None) != (num is None):
        raise InvalidArgument("a limit needs both its start and its number")
    if start is not None and num is not None:
        args += ["LIMIT", start, num]
    if withscores:
        args.append("WITHSCORES")
    return args
