# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Every type of RESP2 and RESP3 by the letter of the specification, and everything that is not one of them."""

import math
import time
from typing import Any

import pytest

from resp.errors import ProtocolError, ServerError, WrongType
from resp.protocol import CALM, LARGE_BUFFER, SMALL_BUFFER, Parser
from resp.values import INCOMPLETE, Push

GOOD: list[tuple[bytes, Any]] = [
    (b"+OK\r\n", b"OK"),
    (b"+\r\n", b""),
    (b"+with space and \xff\r\n", b"with space and \xff"),
    (b":0\r\n", 0),
    (b":-12\r\n", -12),
    (b":+5\r\n", 5),
    (b":9223372036854775807\r\n", 2**63 - 1),
    (b":-9223372036854775808\r\n", -(2**63)),
    (b"$5\r\nhello\r\n", b"hello"),
    (b"$0\r\n\r\n", b""),
    (b"$2\r\n\r\n\r\n", b"\r\n"),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"_\r\n", None),
    (b"*0\r\n", []),
    (b"*3\r\n:1\r\n$-1\r\n*1\r\n_\r\n", [1, None, [None]]),
    (b",1.5e3\r\n", 1500.0),
    (b",10\r\n", 10.0),
    (b",-0.25\r\n", -0.25),
    (b",1E-7\r\n", 1e-7),
    (b",inf\r\n", math.inf),
    (b",-inf\r\n", -math.inf),
    (b"#t\r\n", True),
    (b"#f\r\n", False),
    (b"(3492890328409238509324850943850943825024385\r\n", 3492890328409238509324850943850943825024385),
    (b"(-1\r\n", -1),
    (b"(+1\r\n", 1),
    (b"(" + b"9" * 5000 + b"\r\n", 10**5000 - 1),
    (b"(-" + b"9" * 60000 + b"\r\n", 1 - 10**60000),
    (b"=15\r\ntxt:Some string\r\n", b"Some string"),
    (b"=7\r\nmkd:abc\r\n", b"abc"),
    (b"=4\r\ntxt:\r\n", b""),
    (b"=29\r\ntxt:This is a verbatim\nstring\r\n", b"This is a verbatim\nstring"),
    (b"%0\r\n", {}),
    (b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n", {b"a": 1, b"b": [2]}),
    (b"%1\r\n*1\r\n:1\r\n:2\r\n", {(1,): 2}),
    (b"%1\r\n%1\r\n*1\r\n+k\r\n~1\r\n:1\r\n:2\r\n", {(((b"k",), (1,)),): 2}),
    (b"%1\r\n*1\r\n*1\r\n%0\r\n_\r\n", {(((),),): None}),
    (b"~2\r\n:1\r\n:1\r\n", [1, 1]),
    (b"~1\r\n*1\r\n:1\r\n", [[1]]),
    (b"|1\r\n+ttl\r\n:3600\r\n:42\r\n", 42),
    (b"*2\r\n:1\r\n|1\r\n+ttl\r\n:3600\r\n:2\r\n", [1, 2]),
    (b"|1\r\n+a\r\n:1\r\n|1\r\n+b\r\n:2\r\n*1\r\n:3\r\n", [3]),
    (b"%1\r\n|1\r\n+x\r\n:1\r\n+k\r\n|1\r\n+y\r\n:1\r\n+v\r\n", {b"k": b"v"}),
    (b"$?\r\n;4\r\nHell\r\n;6\r\no worl\r\n;1\r\nd\r\n;0\r\n", b"Hello world"),
    (b"$?\r\n;0\r\n", b""),
    (b"*?\r\n:1\r\n*?\r\n.\r\n$?\r\n;1\r\nx\r\n;0\r\n.\r\n", [1, [], b"x"]),
    (b"~?\r\n:1\r\n.\r\n", [1]),
    (b"%?\r\n+a\r\n:1\r\n.\r\n", {b"a": 1}),
    (b"*1\r\n" * 100 + b":1\r\n", None),
    (b"$300000\r\n" + b"x" * 300000 + b"\r\n", b"x" * 300000),
    (b"$100000\r\n" + b"x" * 100000 + b"\r\n", b"x" * 100000),
]

BAD: list[bytes] = [
    b"\r\n",
    b"\n",
    b"x\r\n",
    b"HTTP/1.1 400 Bad Request\r\n",
    b"\x16\x03\x01",
    b"+a\nb\r\n",
    b"+a\rb\r\n",
    b"+a\n",
    b":\r\n",
    b":x\r\n",
    b":1_0\r\n",
    b": 1\r\n",
    b":1 \r\n",
    b":1.0\r\n",
    b":--1\r\n",
    b":\xd9\xa1\r\n",
    b":9223372036854775808\r\n",
    b":-9223372036854775809\r\n",
    b"$-2\r\n",
    b"$+5\r\n",
    b"$x\r\n",
    b"$\r\n",
    b"$ 5\r\n",
    b"$5_0\r\n",
    b"$99999999999999999999\r\n",
    b"$536870913\r\n",
    b"$EOF:1234567890123456789012345678901234567890\r\n",
    b"$3\r\nabcXY\r\n",
    b"$3\r\nabc\n\r",
    b"$3\r\nabcd\r\n",
    b"*-2\r\n",
    b"*x\r\n",
    b"*99999999999999999999\r\n",
    b"*33554433\r\n",
    b"%-1\r\n",
    b"~-1\r\n",
    b"%16777217\r\n",
    b"_x\r\n",
    b"#x\r\n",
    b"#\r\n",
    b"#true\r\n",
    b",\r\n",
    b",1_0\r\n",
    b", 1\r\n",
    b",0x1p3\r\n",
    b",infinity\r\n",
    b",.\r\n",
    b"(\r\n",
    b"(1_0\r\n",
    b"(1.0\r\n",
    b"!-1\r\n",
    b"=-1\r\n",
    b"=3\r\ntxt\r\n",
    b"=5\r\ntxt-a\r\n",
    b";4\r\nabcd\r\n",
    b";0\r\n",
    b".\r\n",
    b"$?\r\n+a\r\n",
    b"$?\r\n$1\r\na\r\n",
    b"$?\r\n*0\r\n",
    b"$?\r\n.\r\n",
    b"$?\r\n;?\r\n",
    b"*2\r\n:1\r\n.\r\n",
    b"*?\r\n.x\r\n",
    b"%?\r\n+a\r\n.\r\n",
    b"|1\r\n+a\r\n:1\r\n.\r\n",
    b"*?\r\n|1\r\n+a\r\n:1\r\n.\r\n",
    b"|?\r\n",
    b">0\r\n",
    b">?\r\n",
    b">-1\r\n",
    b"*1\r\n>1\r\n+a\r\n",
    b"|1\r\n+a\r\n>1\r\n+a\r\n:1\r\n",
    b"*1\r\n" * 2000,
    b"%1\r\n" * 2000,
    b"|1\r\n" * 2000,
    b"+" + b"x" * 70000,
    b":" + b"1" * 100,
    b"(" + b"1" * 70000 + b"\r\n",
]

# `-nan`, `NAN` and `nan(chars)` were sent before Redis 7.2.
NOT_A_NUMBER = [b",nan\r\n", b",-nan\r\n", b",NAN\r\n", b",nan(0x8)\r\n"]


def short(item: object) -> str:
    return "a huge int" if isinstance(item, int) and abs(item) > 2**200 else repr(item)[:40]


def parsed(data: bytes, step: int) -> Any:
    """What a parser makes of data that comes in pieces of `step` bytes; it must be exactly one reply."""
    parser = Parser()
    for start in range(0, len(data), step):
        assert parser.get() is INCOMPLETE, "there was a reply before its last byte"
        parser.feed(data[start : start + step])
    value = parser.get()
    assert value is not INCOMPLETE
    assert parser.idle
    return value


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1 << 30])
@pytest.mark.parametrize(("data", "value"), GOOD, ids=short)
def test_every_type_is_read_in_pieces_of_any_size(data: bytes, value: Any, step: int) -> None:
    found = parsed(data, step)
    if value is None and data.startswith(b"*1"):
        while found != [1]:
            (found,) = found
        return
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("data", NOT_A_NUMBER)
def test_every_spelling_of_not_a_number_is_read(data: bytes) -> None:
    assert math.isnan(parsed(data, 1))


@pytest.mark.parametrize("step", [1, 1 << 30])
@pytest.mark.parametrize("data", BAD, ids=short)
def test_everything_else_is_a_protocol_error_and_stays_one(data: bytes, step: int) -> None:
    parser = Parser()

    def read() -> None:
        for start in range(0, len(data), step):
            parser.feed(data[start : start + step])
            assert parser.get() is INCOMPLETE

    with pytest.raises(ProtocolError) as caught:
        read()
    parser.feed(b"+OK\r\n")
    with pytest.raises(ProtocolError) as again:
        parser.get()
    assert str(again.value) == str(caught.value)


@pytest.mark.parametrize("step", [1, 1 << 30])
@pytest.mark.parametrize("data", [b"-WRONGTYPE Operation\r\n", b"!19\r\nWRONGTYPE Operation\r\n"])
def test_errors_are_values(data: bytes, step: int) -> None:
    error = parsed(data, step)
    assert type(error) is WrongType
    assert (error.code, error.message) == ("WRONGTYPE", "Operation")


def test_an_error_inside_an_array_stands_in_its_place() -> None:
    first, second, third = parsed(b"*3\r\n:1\r\n-ERR no\r\n:3\r\n", 1)
    assert (first, third) == (1, 3)
    assert isinstance(second, ServerError)


def test_pushes_are_kept_aside_wherever_they_come() -> None:
    parser = Parser()
    parser.feed(b">2\r\n+one\r\n:1\r\n+OK\r\n>1\r\n+two\r\n>1\r\n+three\r\n$1\r\nx\r\n>2\r\n$4\r\nfour\r\n*1\r\n:4\r\n")
    assert (parser.get(), parser.get(), parser.get()) == (b"OK", b"x", INCOMPLETE)
    assert list(parser.pushes) == [[b"one", 1], [b"two"], [b"three"], [b"four", [4]]]
    assert all(isinstance(push, Push) for push in parser.pushes)
    assert parser.pushes[3].kind == b"four"
    assert parser.idle


@pytest.mark.parametrize("step", [100, 999, 4096, 1 << 20])
@pytest.mark.parametrize(
    "some", [b":1234\r\n" * 100, b"".join(b"$%d\r\n%b\r\n" % (n, bytes(n)) for n in (1, 150, 7, 2000, 0, 33))]
)
def test_the_buffer_is_used_again_and_does_not_grow_however_replies_lie_in_it(step: int, some: bytes) -> None:
    stream = some * 300
    parser, at, replies = Parser(), 0, 0
    while at < len(stream):
        with parser.space() as room:
            size = min(step, len(room), len(stream) - at)
            room[:size] = stream[at : at + size]
        parser.advance(size)
        at += size
        while parser.get() is not INCOMPLETE:
            replies += 1
        assert len(parser.buffer) == SMALL_BUFFER
    assert (replies, parser.idle) == (300 * (100 if some.startswith(b":") else 6), True)


@pytest.mark.parametrize("begun", [b">2\r\n", b">2\r\n+a\r\n", b">2\r\n*2\r\n+a\r\n", b">1\r\n*1\r\n*1\r\n", b">"])
def test_a_message_that_has_begun_is_known_as_one_however_deep(begun: bytes) -> None:
    for data, message in ((begun, True), (b"*" + begun[1:], False)):
        parser = Parser()
        parser.feed(data)
        assert parser.get() is INCOMPLETE
        assert parser.in_push is message


def test_attributes_belong_to_the_reply_they_come_with() -> None:
    parser = Parser()
    parser.feed(b"|1\r\n+ttl\r\n:3600\r\n*1\r\n|1\r\n+n\r\n*0\r\n:2\r\n:7\r\n")
    assert parser.get() == [2]
    assert parser.attributes == [{b"ttl": 3600}, {b"n": []}]
    assert parser.get() == 7
    assert parser.attributes == []


def test_a_reply_is_not_idle_before_its_last_byte() -> None:
    parser = Parser()
    assert parser.idle
    for piece in (b"*1", b"\r\n", b"|1\r\n+a\r\n:1\r\n", b"$3\r", b"\nab", b"c\r"):
        parser.feed(piece)
        assert parser.get() is INCOMPLETE
        assert not parser.idle
    parser.feed(b"\n")
    assert parser.get() == [b"abc"]
    assert parser.idle


@pytest.mark.parametrize(
    ("limits", "good", "bad"),
    [
        ({"max_bulk": 3}, b"$3\r\nabc\r\n", b"$4\r\nabcd\r\n"),
        ({"max_bulk": 3}, b"$?\r\n;2\r\nab\r\n;1\r\nc\r\n;0\r\n", b"$?\r\n;2\r\nab\r\n;2\r\ncd\r\n;0\r\n"),
        ({"max_elements": 3}, b"*2\r\n*1\r\n:1\r\n:2\r\n", b"*2\r\n*2\r\n:1\r\n:1\r\n:2\r\n"),
        ({"max_elements": 4}, b"%2\r\n:1\r\n:1\r\n:2\r\n:2\r\n", b"%3\r\n"),
        ({"max_elements": 2}, b"*?\r\n:1\r\n:2\r\n.\r\n", b"*?\r\n:1\r\n:2\r\n:3\r\n.\r\n"),
        ({"max_depth": 2}, b"*1\r\n*1\r\n:1\r\n", b"*1\r\n*1\r\n*1\r\n:1\r\n"),
        ({"max_line": 10}, b"+0123456789\r\n", b"+01234567890\r\n"),
    ],
    ids=repr,
)
def test_limits_are_exact(limits: dict[str, int], good: bytes, bad: bytes) -> None:
    parser = Parser(**limits)
    for _ in range(3):
        # A limit counts for one reply, not for all of them.
        parser.feed(good)
        assert parser.get() is not INCOMPLETE
    parser.feed(bad)
    with pytest.raises(ProtocolError):
        parser.get()


@pytest.mark.parametrize(
    "data",
    [b"*20000\r\n" + b"$3\r\nabc\r\n" * 20000, b"$200000\r\n" + b"x" * 200000 + b"\r\n", b"+" + b"x" * 60000 + b"\r\n"],
    ids=["array", "string", "line"],
)
def test_byte_by_byte_takes_linear_time(data: bytes) -> None:
    def seconds(part: bytes) -> float:
        parser = Parser()
        # The time of this thread alone, whatever else the machine does.
        began = time.thread_time()
        for number in range(len(part)):
            parser.feed(part[number : number + 1])
            parser.get()
        return time.thread_time() - began

    half = min(seconds(data[: len(data) // 2]) for _ in range(5))
    whole = min(seconds(data) for _ in range(5))
    # Twice as much when linear, four times as much when quadratic.
    assert whole < 3.2 * half


@pytest.mark.parametrize("size", [SMALL_BUFFER, LARGE_BUFFER, 3 * 1024 * 1024, 40 * 1024 * 1024])
def test_strings_of_any_size_come_back_and_what_follows_is_not_lost(size: int) -> None:
    data = bytes(range(256)) * (size // 256)
    parser = Parser()
    whole = b"$%d\r\n%b\r\n:7\r\n" % (size, data)
    for start in range(0, len(whole), 1_000_003):
        parser.feed(whole[start : start + 1_000_003])
    assert parser.get() == data
    assert parser.get() == 7


def test_the_large_buffer_is_given_back_after_many_small_replies() -> None:
    parser = Parser()
    parser.feed(b"$100000\r\n")
    assert parser.get() is INCOMPLETE
    assert len(parser.buffer) == LARGE_BUFFER
    parser.feed(b"x" * 100000 + b"\r\n")
    assert len(parser.get()) == 100000
    for _ in range(CALM + 1):
        parser.feed(b"+OK\r\n")
        assert parser.get() == b"OK"
    assert len(parser.buffer) == SMALL_BUFFER


def test_bytes_can_be_received_straight_into_the_parser() -> None:
    parser = Parser()
    stream = b"$1000000\r\n" + b"y" * 1000000 + b"\r\n+OK\r\n"
    replies = []
    while stream:
        with parser.space() as room:
            count = min(len(room), len(stream), 70_000)
            assert count, "there is always room"
            room[:count] = stream[:count]
        parser.advance(count)
        stream = stream[count:]
        while (reply := parser.get()) is not INCOMPLETE:
            replies.append(reply)
    assert replies == [b"y" * 1000000, b"OK"]
