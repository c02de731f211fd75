# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""RESP2 and RESP3 without any I/O: bytes in, values out (`resp.encoding` is the other way round).

`Parser` owns one receive buffer. Someone fills it (`feed`, or `space` and `advance` to receive straight into it) and
takes values out with `get`. It keeps an explicit stack, so a reply may arrive in any pieces and no byte is looked at
twice, however deep or long the reply is. Surprising: a bulk string larger than the buffer is not collected in it;
`space` then hands out the memory of the final `bytes` object itself (inside a BytesIO, whose `getvalue` does not
copy), which makes a large value cost one copy out of the kernel and its own size in memory.
"""

from __future__ import annotations

from collections import deque
from io import BytesIO
from typing import Any, Final

from resp.encoding import STRING_HEADS
from resp.errors import ProtocolError, server_error
from resp.lines import leaves, pairs, split, strings
from resp.values import INCOMPLETE, Push, Value, excerpt, scalar

#: Receive buffer of a parser that has seen only small replies, in bytes.
SMALL_BUFFER: Final = 64 * 1024
#: The buffer grows to this for larger bulk strings; above it they get memory of their own.
LARGE_BUFFER: Final = 256 * 1024
#: Give the large buffer back after that many replies that would have fitted into the small one.
CALM: Final = 256
#: Memory for a bulk string is claimed in steps of this, so that a length is not believed before the bytes come.
STEP: Final = 16 * 1024 * 1024

#: As many elements to come are worth an attempt to take them at once.
MANY: Final = 8

_LF: Final = b"\n"
_MAP: Final = 37
# Array, set, map.
_COUNTED: Final = frozenset(b"*~%")
# The longest header line per type. Numbers are short; simple strings, errors and big numbers have the line limit.
_NUMBER_LINE: Final = 64
_LONG_LINES: Final = frozenset(b"+-(")
_TYPES: Final = frozenset(b"+-:$*_,#(!=%~>|;.")


class Parser:
    """An incremental parser for replies, with limits; it needs no socket.

    Values: simple, bulk and verbatim strings are `bytes` (verbatim without its `txt:`), numbers `int` (big numbers of
    any length too) and `float`, booleans `bool`, all three nulls None, arrays and sets `list` (sets in the order
    sent, since members may repeat and need not be hashable), maps `dict` (a key that is an array, a set or a map
    becomes a tuple), errors `ServerError` instances that are returned and not raised. Pushes are collected in
    `pushes`, attributes in `attributes` (those of the last value `get` returned); neither is ever a reply.

    max_bulk: longest string in bytes; max_elements: most values in one reply, nested ones included; max_depth: how
    deep values may nest; max_line: longest simple string, error or big number in bytes.
    """

    def __init__(
        self,
        *,
        max_bulk: int = 512 * 1024 * 1024,
        max_elements: int = 1 << 25,
        max_depth: int = 512,
        max_line: int = 64 * 1024,
    ) -> None:
        self.max_bulk = max_bulk
        self.max_elements = max_elements
        self.max_depth = max_depth
        self.max_line = max_line
        self.pushes: deque[Push] = deque()
        self.attributes: list[dict[Any, Any]] = []
        # The buffer: bytes [pos, end) are received and not yet consumed.
        self.buffer = bytearray(SMALL_BUFFER)
        self.view = memoryview(self.buffer)
        self.pos = 0
        self.end = 0
        self.calm = 0  # replies to go until the large buffer is given back; 0 while the buffer is small
        # A line end is not before `scan`. A bulk in the buffer needs bytes up to `need` (0: the next is a header).
        self._scan = 0
        self._need = 0
        self._tag = 0
        # A large bulk under way: its memory, how much is filled, how much is claimed, how much it will be.
        self._large: BytesIO | None = None
        self._filled = 0
        self._total = 0
        self._window: memoryview | None = None
        # The innermost unfinished aggregate is in these four, its parents on the stack.
        self._stack: list[tuple[int, int, list[Any], bool]] = []
        self._kind = 0  # its type byte; 0 at top level
        self._left = 1  # elements still to come; -1: until "."
        self._items: list[Any] = []
        self._frozen = False  # inside a map key: lists become tuples
        self._awaiting = False  # after an attribute, whose value must follow
        self._streamed = 0  # length of the streamed string so far
        self._elements = 0
        # Elements of an aggregate are taken many at once, until that turns out to be of no use for this reply.
        self._by_lines = max_bulk >= len(STRING_HEADS)
        self._notes: list[dict[Any, Any]] = []
        self._broken: str | None = None

    # ---- filling -------------------------------------------------------------------------------------------------

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Append received bytes; any number of replies or any part of one."""
        source = memoryview(data).cast("B")
        while size := len(source):
            with self.space() as room:
                take = min(size, len(room))
                room[:take] = source[:take]
            self.advance(take)
            source = source[take:]

    def space(self) -> memoryview:
        """Where to receive the next bytes, never empty; follow with `advance`, and release it before the next `get`."""
        if self._large is not None and self._filled < self._total:
            window = self._window
            if window is None or self._filled == len(window):
                window = self._window = self._claim(self._large, window)
            return window[self._filled :]
        if self.pos == self.end:
            if self._need:
                self._need -= self.pos
            self.pos = self.end = self._scan = 0
        elif self.pos and (self.end == len(self.buffer) or self._need > len(self.buffer)):
            self._move(self.buffer)
        if self.end == len(self.buffer):
            self._move(bytearray(2 * len(self.buffer)))
        return self.view[self.end :]

    def advance(self, count: int) -> None:
        """Say how many bytes were put into `space()`."""
        if self._large is not None and self._filled < self._total:
            self._filled += count
        else:
            self.end += count

    @property
    def wanted(self) -> int:
        """At least this many more bytes are needed before `get` can return something (1 if unknown)."""
        if self._large is not None:
            return self._total - self._filled
        return max(1, self._need - self.end)

    @property
    def idle(self) -> bool:
        """True between replies: nothing received and not consumed, no reply begun."""
        return self.pos == self.end and not self._kind and self._large is None and not self._awaiting

    @property
    def in_push(self) -> bool:
        """True if what has begun and is not complete is a push."""
        if self._kind:
            return (self._stack[1][0] if len(self._stack) > 1 else self._kind) == 62
        return self.pos < self.end and self.buffer[self.pos] == 62

    # ---- taking out ----------------------------------------------------------------------------------------------

    def get(self) -> Value:
        """The next reply, or `INCOMPLETE`; pushes before it go to `pushes`.

        Raises ProtocolError for anything that is not RESP and for exceeded limits, and from then on always: the
        place where the next reply begins is lost.
        """
        return self._guarded(None, 0)

    def get_into(self, replies: list[Value], most: int) -> None:
        """Append all replies that are complete to a list, until it has `most`; otherwise as `get`."""
        if len(replies) < most:
            self._guarded(replies, most)

    def _guarded(self, replies: list[Value] | None, most: int) -> Value:
        if self._broken is not None:
            raise ProtocolError(self._broken)
        try:
            return self._parse(replies, most)
        except ProtocolError as error:
            self._broken = str(error)
            self._drop_large()
            raise
        except (MemoryError, OverflowError):
            self._broken = "a reply does not fit into memory"
            self._drop_large()
        raise ProtocolError(self._broken)

    def _parse(self, replies: list[Value] | None, most: int) -> Value:
        buffer = self.buffer
        find = buffer.find
        view = self.view
        end = self.end
        pos = self.pos
        if not self._kind and not self._awaiting and not self._need and self._large is None:
            self._elements = 0
            self._by_lines = self.max_bulk >= len(STRING_HEADS)
            if self._notes:
                self._notes = []
        while True:
            # 1. One value, or the header of an aggregate.
            if self._left >= MANY and self._by_lines and pos < end:
                self._take_lines()
                pos = self.pos
            if self._large is not None:
                if self._filled < self._total:
                    return INCOMPLETE
                value: Value = self._take_large()
                buffer, find, view, end, pos = self.buffer, self.buffer.find, self.view, self.end, self.pos
                tag = self._tag
            elif self._need:
                need = self._need
                if need > end:
                    return INCOMPLETE
                if buffer[need - 2] != 13 or buffer[need - 1] != 10:
                    raise ProtocolError("a string does not end with CRLF where its length says")
                value = bytes(view[pos : need - 2])
                self.pos = self._scan = pos = need
                self._need = 0
                tag = self._tag
            else:
                if pos >= end:
                    return INCOMPLETE
                tag = buffer[pos]
                eol = find(_LF, self._scan if self._scan > pos else pos, end)
                if eol < 0:
                    self._check_open_line(tag, pos, end)
                    self._scan = end
                    return INCOMPLETE
                if buffer[eol - 1] != 13 or eol - 1 == pos:
                    raise ProtocolError(f"a line that begins with {bytes(buffer[pos : pos + 1])!r} ends without CRLF")
                line = buffer[pos + 1 : eol - 1]
                start = pos
                self.pos = self._scan = pos = eol + 1
                if tag == 36 and line.isdigit():  # $
                    size = int(line) if len(line) < 12 else self.max_bulk + 1
                    if size > self.max_bulk:
                        raise ProtocolError(f"a string is longer than the limit of {self.max_bulk} bytes")
                    need = pos + size + 2
                    if need <= end:
                        if buffer[need - 2] != 13 or buffer[need - 1] != 10:
                            raise ProtocolError("a string does not end with CRLF where its length says")
                        value = bytes(view[pos : need - 2])
                        self.pos = self._scan = pos = need
                    else:
                        self._tag = tag
                        self._expect(size)
                        buffer, find, view, end, pos = self.buffer, self.buffer.find, self.view, self.end, self.pos
                        continue
                elif tag == 58 and len(line) < 19 and line.isdigit():  # :
                    value = int(line)
                else:
                    value = self._header(tag, line, start)
                    if value is INCOMPLETE:  # an aggregate was opened, or a string is to come
                        buffer, find, view, end, pos = self.buffer, self.buffer.find, self.view, self.end, self.pos
                        if self._left:
                            continue
                        value = self._closed()
                        if value is INCOMPLETE:
                            continue
                        tag = 0
            if tag == 33 or tag == 61:  # ! and =
                value = self._finish_string(tag, value)
            elif tag == 59:  # a chunk of a streamed string
                self._items.append(value)
                continue
            # 2. Put it where it belongs; close every aggregate that this completes.
            self._awaiting = False
            while self._kind:
                kind = self._kind
                if kind == 59:
                    raise ProtocolError("something else than a chunk inside a streamed string")
                self._elements += 1
                if self._elements > self.max_elements:
                    raise ProtocolError(f"a reply has more than {self.max_elements} elements")
                items = self._items
                items.append(value)
                if self._left > 0:
                    self._left -= 1
                    if self._left == 0:
                        value = self._closed()
                        if value is not INCOMPLETE:
                            continue
                break
            else:
                self.attributes = self._notes
                if self.calm:
                    self.cool()
                    buffer, find, view, end, pos = self.buffer, self.buffer.find, self.view, self.end, self.pos
                if replies is None:
                    return value
                replies.append(value)
                if len(replies) == most:
                    return INCOMPLETE
                self._elements = 0
                self._by_lines = self.max_bulk >= len(STRING_HEADS)
                if self._notes:
                    self._notes = []

    def _take_lines(self) -> None:
        """Take what can be taken at once of the innermost aggregate, except for its last element, which closes it."""
        kind, pos = self._kind, self.pos
        # `_scan` is behind `pos` while the end of a line is being waited for.
        if self._need or self._large is not None or self._awaiting or self._scan > pos or kind not in _COUNTED:
            return
        most = self._left - 1
        data = self.view[pos : self.end].tobytes()
        nested = kind != _MAP and not self._frozen
        inner = 0
        if data[0] == 42 and nested:  # *
            found, size = pairs(data, most)
            inner = 2 * len(found)
        else:
            found, size = strings(data, most)
        if not found:
            lines = split(data, most)
            found, taken, inner = leaves(lines, most, nested)
            size = sum(map(len, lines[:taken])) + 2 * taken
            # What is unusual comes often, or the lines are of no use: no byte is to be split again and again.
            self._by_lines = 2 * size > len(data) or len(lines) - taken < 2
        if inner:
            if self._elements + inner + self._left > self.max_elements:
                self._by_lines = False
                return
            self._elements += inner
        self._items += found
        self._left -= len(found)
        self._elements += len(found)
        self.pos = self._scan = pos + size

    # ---- headers -------------------------------------------------------------------------------------------------

    def _check_open_line(self, tag: int, pos: int, end: int) -> None:
        """Refuse, before its end has come, a line that cannot become a good one."""
        if tag not in _TYPES:
            raise ProtocolError(f"no RESP type begins with {bytes((tag,))!r}")
        limit = self.max_line if tag in _LONG_LINES else _NUMBER_LINE
        if end - pos > limit + 3:
            raise ProtocolError(f"a line is longer than the limit of {limit} bytes")

    def _header(self, tag: int, line: bytearray, start: int) -> Value:
        """The value of a line, or INCOMPLETE after an aggregate or string was opened by it."""
        self._check_open_line(tag, start, start + len(line) + 3)
        value = scalar(tag, line)
        if value is not INCOMPLETE:
            return value
        if tag == 46:  # .
            if line or self._left != -1 or self._kind == 59 or self._awaiting:
                raise ProtocolError("the end of a streamed aggregate where none is open")
            if self._kind == 37 and len(self._items) % 2:
                raise ProtocolError("a streamed map has a key without a value")
            self._left = 0
            return INCOMPLETE
        if tag not in _TYPES:
            raise ProtocolError(f"no RESP type begins with {bytes((tag,))!r}")
        if line == b"-1" and (tag == 36 or tag == 42):
            return None
        if line == b"?" and tag in b"$*~%":
            self._open(59 if tag == 36 else tag, -1)
            return INCOMPLETE
        if not line.isdigit() or len(line) > 19:
            raise ProtocolError(f"not a length: {excerpt(line)}")
        size = int(line)
        if tag in b"$!=;":
            return self._string(tag, size)
        pairs = tag == 37 or tag == 124
        count = 2 * size if pairs else size
        if self._elements + count > self.max_elements:
            raise ProtocolError(f"a reply has more than {self.max_elements} elements")
        if tag == 62:  # >
            if self._kind or self._awaiting:
                raise ProtocolError("a push inside a reply")
            if not count:
                raise ProtocolError("a push without elements")
        self._open(tag, count)
        return INCOMPLETE

    def _string(self, tag: int, size: int) -> Value:
        """Expect the bytes of a string; INCOMPLETE."""
        if (tag == 59) != (self._kind == 59):
            raise ProtocolError("a chunk outside of a streamed string, or something else inside one")
        if tag == 59:
            if not size:  # the last chunk, which has no bytes and no CRLF of its own
                self._left = 0
                return INCOMPLETE
            self._elements += 1
            self._streamed += size
        if size > self.max_bulk or self._streamed > self.max_bulk:
            raise ProtocolError(f"a string is longer than the limit of {self.max_bulk} bytes")
        self._tag = tag
        self._expect(size)
        return INCOMPLETE

    def _expect(self, size: int) -> None:
        """Make room for a string of `size` bytes and its CRLF, part of which may be in the buffer already."""
        total = size + 2
        if self.pos + total > self.end and total > LARGE_BUFFER:
            large = BytesIO(bytes(min(total, STEP)))
            have = self.end - self.pos
            with large.getbuffer() as window:
                window[:have] = self.view[self.pos : self.end]
            self.pos = self.end = self._scan = 0
            self._large, self._filled, self._total = large, have, total
            return
        if total > len(self.buffer):
            self._move(bytearray(LARGE_BUFFER))
        if total > SMALL_BUFFER:
            self.calm = CALM
        self._need = self.pos + total

    def _claim(self, large: BytesIO, window: memoryview | None) -> memoryview:
        """The memory claimed for a large string so far, and more of it if that is full."""
        if window is not None:
            window.release()
            large.seek(min(self._total, 2 * self._filled) - 1)
            large.write(b"\0")
        return large.getbuffer()

    def _take_large(self) -> bytes:
        large = self._large
        assert large is not None
        window = self._window if self._window is not None else large.getbuffer()
        ending = bytes(window[self._total - 2 :])
        window.release()
        self._large = self._window = None
        if ending != b"\r\n":
            raise ProtocolError("a string does not end with CRLF where its length says")
        large.truncate(self._total - 2)
        return large.getvalue()

    def _drop_large(self) -> None:
        self._large = self._window = None

    def give_up(self) -> None:
        """Nothing more will come: give back at once the memory of a large string of which only a part is here."""
        if self._large is not None:
            self._broken = "the connection was closed inside a reply"
            self._drop_large()

    def _move(self, target: bytearray) -> None:
        """Move what is not consumed to the start of `target`, which becomes (or is) the buffer."""
        size = self.end - self.pos
        if target is self.buffer:
            self.view[:size] = self.view[self.pos : self.end]
        else:
            target[:size] = self.view[self.pos : self.end]
            self.buffer = target
            self.view = memoryview(target)
        self._scan = max(0, self._scan - self.pos)
        if self._need:
            self._need -= self.pos
        self.pos, self.end = 0, size

    def whole(self, count: int) -> Value:
        """The reply, if the first `count` bytes of the (empty) buffer are one aggregate of strings or pairs.

               INCOMPLETE if they are anything else.
        It is the value that `take_over` and `get` would give, without their detours.
        """
        buffer = self.buffer
        eol = buffer.find(b"\r\n", 1, 12)
        digits = buffer[1:eol]
        if not digits.isdigit() or self.max_bulk < len(STRING_HEADS):
            return INCOMPLETE
        most = int(digits) * 2 if buffer[0] == _MAP else int(digits)
        if not MANY <= most <= min(count, self.max_elements // 3):
            return INCOMPLETE
        data = self.view[eol + 2 : count].tobytes()
        values, size = pairs(data, most) if data[:1] == b"*" and buffer[0] != _MAP else strings(data, most)
        if len(values) != most or size != len(data):
            return INCOMPLETE
        if self.calm:
            self.keep(count)
        return dict(zip(values[::2], values[1::2])) if buffer[0] == _MAP else values

    def take_over(self, count: int) -> None:
        """Somebody received `count` bytes to the start of the (empty) buffer and leaves them to the parser."""
        self.pos = self._scan = 0
        self.end = count
        if count > SMALL_BUFFER:  # it is needed, though nothing in it may be large enough to be waited for
            self.calm = CALM

    def keep(self, size: int) -> None:
        """Somebody took a reply of `size` bytes straight out of the buffer; without it, it would be given back."""
        if size > SMALL_BUFFER:
            self.calm = CALM
        else:
            self.pos = self.end = 0
            self.cool()

    def cool(self) -> None:
        """Count one small reply towards giving the large buffer back."""
        if self.calm > 1:
            self.calm -= 1
        elif self.pos == self.end:
            self.calm = 0
            self.pos = self.end = self._scan = 0
            self._move(bytearray(SMALL_BUFFER))

    def _finish_string(self, tag: int, value: bytes) -> Value:
        if tag == 33:
            return server_error(value)
        if len(value) < 4 or value[3] != 58:
            raise ProtocolError("a verbatim string without its format")
        return value[4:]

    # ---- aggregates ----------------------------------------------------------------------------------------------

    def _open(self, kind: int, count: int) -> None:
        """Begin an aggregate of `count` values (-1: until its end mark)."""
        if self._kind == 59:
            raise ProtocolError("something else than a chunk inside a streamed string")
        if len(self._stack) >= self.max_depth:
            raise ProtocolError(f"a reply is nested deeper than {self.max_depth}")
        self._stack.append((self._kind, self._left, self._items, self._frozen))
        is_key = (self._kind == 37 or self._kind == 124) and len(self._items) % 2 == 0
        self._frozen = self._frozen or is_key
        self._kind, self._left, self._items = kind, count, []
        self._awaiting = False
        if kind == 59:
            self._streamed = 0

    def _closed(self) -> Value:
        """The value of the innermost aggregate, now complete; INCOMPLETE if it was a push or an attribute."""
        kind, items, frozen = self._kind, self._items, self._frozen
        self._kind, self._left, self._items, self._frozen = self._stack.pop()
        if kind == 42 or kind == 126:  # * and ~
            return tuple(items) if frozen else items
        if kind == 59:
            self._streamed = 0
            return b"".join(items)
        if kind == 62:  # >
            self.pushes.append(Push(items))
            self._elements = 0
            return INCOMPLETE
        pairs = dict(zip(items[::2], items[1::2]))
        if kind == 124:  # |
            self._notes.append(pairs)
            self._awaiting = True
            return INCOMPLETE
        return tuple(pairs.items()) if frozen else pairs
