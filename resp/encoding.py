# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""From arguments to the bytes of a request, without any I/O.

A command is an array of bulk strings. Surprising: a large argument is not copied into the request; the request is then
a list of pieces, which the socket gathers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from resp.errors import InvalidArgument

#: What can be sent as one argument of a command.
Argument = bytes | bytearray | memoryview | str | int | float
#: One encoded request: whole, or in pieces where large values are not copied.
Request = bytes | list[bytes | memoryview]

#: Arguments of at least this size are sent from where they are instead of being copied into the request.
LARGE_ARGUMENT: Final = 32 * 1024


def encode_argument(value: Argument) -> bytes | memoryview:
    """The bytes of one argument: bytes-like as it is, str as UTF-8, numbers in decimal.

    A str that came out of `decode=True` with bytes that are no UTF-8 (surrogate escapes) becomes these bytes again.
    Raises InvalidArgument for None, bool and every other type, rather than to send `b"None"`.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise InvalidArgument("a str argument with a lone surrogate cannot be sent as UTF-8") from None
    if isinstance(value, bool) or value is None:
        raise InvalidArgument(f"cannot send {value!r}: say what it should be in the server, e.g. b'1', 0 or ''")
    if isinstance(value, int):
        try:
            return b"%d" % value
        except ValueError:
            raise InvalidArgument("cannot send an int of that many digits") from None
    if isinstance(value, float):
        return repr(float(value)).encode()
    try:
        view = memoryview(value)
    except TypeError:
        kind = type(value).__name__
        raise InvalidArgument(f"cannot send a {kind}: convert it to bytes, str, int or float first") from None
    return view.cast("B") if view.c_contiguous and view.nbytes else view.tobytes()


def encode_command(*args: Argument) -> bytes:
    """One command as it goes over the wire: an array of bulk strings. Raises InvalidArgument."""
    if not args:
        raise InvalidArgument("a command needs at least its name")
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        data: Any = arg if type(arg) is bytes else encode_argument(arg)
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


#: The header of a string by its length, for those that are short and many.
STRING_HEADS: Final = tuple(b"$%d" % size for size in range(1024))
_WORD_HEADS: Final = tuple(b"\r\n$%d\r\n" % size for size in range(1024))
#: So many words of a command are worth an attempt to encode them at once.
MANY: Final = 8
# Of more words than this there are copies enough.
_MOST: Final = 4096


def _short_words(words: Any) -> bytes | None:
    """Many words at once, if all of them are short, and all str or all bytes; otherwise None."""
    kinds = set(map(type, words))
    try:
        if kinds == {str}:
            data = "\0".join(words).encode("utf-8", "surrogateescape").split(b"\0")
            if len(data) != len(words):
                return None
        elif kinds == {bytes}:
            data = words
        else:
            return None
        pieces = [b""] * (2 * len(data))
        pieces[0::2] = map(_WORD_HEADS.__getitem__, map(len, data))
        pieces[1::2] = data
    except (IndexError, UnicodeEncodeError):
        return None
    return b"%b\r\n" % b"".join(pieces)[2:]


def encode_request(args: Sequence[Argument]) -> Request:
    """One command, in one piece if it is small, else in pieces of which the large ones are not copied.

    Raises InvalidArgument.
    """
    count = len(args)
    if count == 2:
        # The most usual form, a name and a key, in one step: what stands before the key is known by its length.
        name, key = args
        try:
            if type(key) is str:
                if key.isascii():
                    return f"{_BEFORE_TEXT[name][len(key)]}{key}\r\n".encode()  # type: ignore[index]  # see below
            elif type(key) is bytes:
                return _BEFORE[name][len(key)] + key + b"\r\n"  # type: ignore[index]  # as above
        except (KeyError, IndexError, TypeError):
            pass  # a name for the first time, or none that can be looked up, or a long key
    elif not count:
        raise InvalidArgument("a command needs at least its name")
    name = args[0]
    head = None
    if type(name) is str:
        # Others in one step, too: a name, a key, an option and a value.
        if count == 4:
            head = _FOUR.get(name)
            if head is not None:
                one: Any = args[1]
                if type(one) is not bytes:
                    one = encode_argument(one)
                two: Any = encode_argument(args[2])
                three: Any = args[3]
                if type(three) is not bytes:
                    three = encode_argument(three)
                if len(one) + len(two) + len(three) < LARGE_ARGUMENT:
                    return b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
                        head,
                        len(one),
                        one,
                        len(two),
                        two,
                        len(three),
                        three,
                    )
        else:
            head = _HEADS.get((count, name))
    if head is None:
        words: Any = args
        small = [b"*%d\r\n" % count]
    else:
        words = args[1:]
        if MANY <= len(words) <= _MOST and (together := _short_words(words)) is not None:
            return head + together
        small = [head]
    parts: list[bytes | memoryview] = []
    for arg in words:
        data: Any = arg if type(arg) is bytes else encode_argument(arg)
        if len(data) < LARGE_ARGUMENT:
            small.append(b"$%d\r\n%b\r\n" % (len(data), data))
        else:
            small.append(b"$%d\r\n" % len(data))
            parts += [b"".join(small), data]
            small = [b"\r\n"]
    if not parts:
        if head is None and type(name) is str and len(_HEADS) < 1024 and len(name) < 32:
            head = _HEADS[count, name] = b"".join(small[:2])
            if count == 4:
                _FOUR[name] = head
            elif count == 2 and len(_BEFORE) < 128 and name.isascii():
                _BEFORE[name] = [b"%b$%d\r\n" % (head, size) for size in range(256)]
                _BEFORE_TEXT[name] = [before.decode() for before in _BEFORE[name]]
        return b"".join(small)
    parts.append(b"".join(small))
    return parts


# How a command of so many words with this name begins; filled as they are used.
_HEADS: Final[dict[tuple[int, str], bytes]] = {}
_FOUR: Final[dict[str, bytes]] = {}
# The same with the length of the one argument, by that length, for as many names as one program uses. As text, too:
# what begins as text is put together faster so than from its bytes.
_BEFORE: Final[dict[str, list[bytes]]] = {}
_BEFORE_TEXT: Final[dict[str, list[str]]] = {}

#: Small requests are sent together in pieces of about this size.
_CHUNK: Final = 64 * 1024


def chunks(requests: list[Request]) -> Iterator[bytes | memoryview]:
    """The bytes of many requests in pieces worth a system call each; large values as they are."""
    small: list[bytes | memoryview] = []
    size = 0
    for request in requests:
        for piece in (request,) if isinstance(request, bytes) else request:
            if len(piece) >= _CHUNK:
                if small:
                    yield b"".join(small)
                    small, size = [], 0
                yield piece
                continue
            small.append(piece)
            size += len(piece)
            if size >= _CHUNK:
                yield b"".join(small)
                small, size = [], 0
    if small:
        yield b"".join(small)
