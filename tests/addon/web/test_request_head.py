# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The one form of a head that the lane takes, held against mitmproxy's parser and h11.

Where either of them sees another end, host or target, or a body, or nothing that it accepts, ours has to see nothing.
"""

import re
from time import thread_time

import h11
import pytest
from h11._receivebuffer import ReceiveBuffer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mitmproxy.net.http import http1, validate

from addon.web.request_head import END, Fields, RequestLine, fields, request_line, strays

PLAIN = b"GET / HTTP/1.1\r\nHost: alice.pages.test\r\n\r\n"


def taken(data: bytes) -> tuple[RequestLine, Fields, int] | None:
    """The head at the start of the data as the lane takes it, and where it ends; None if it does not."""
    at = 2 if data.startswith(b"\r\n") else 0
    end = data.find(END, at)
    if end < 0:
        return None
    line, _, block = data[at:end].partition(b"\r\n")
    parsed, found = request_line(line), fields(block)
    return None if parsed is None or found is None else (parsed, found, end + 4)


def by_mitmproxy(data: bytes) -> tuple[str, str, str, int] | None:
    """Method, target, Host and end as mitmproxy sees them; None if it refuses or sees a body."""
    buffer = ReceiveBuffer()
    buffer += data
    lines = buffer.maybe_extract_lines()
    if lines == []:
        lines = buffer.maybe_extract_lines()
    if not lines:
        return None
    try:
        request = http1.read_request_head([bytes(line) for line in lines])
        if http1.expected_http_body_size(request) != 0:
            return None
        if hasattr(validate, "validate_headers"):
            validate.validate_headers(request)
    except ValueError:
        return None
    hosts = request.headers.get_all("host")
    if len(hosts) != 1 or request.data.authority or "upgrade" in request.headers or "expect" in request.headers:
        return None
    return request.method, request.path, hosts[0], len(data) - len(buffer)


def by_h11(data: bytes) -> tuple[str, str, str, int] | None:
    """The same as h11 sees it; without an empty line before the request, which it refuses and RFC 9112 §2.2 allows."""
    skipped = 2 if data.startswith(b"\r\n") else 0
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    try:
        connection.receive_data(data[skipped:])
        request = connection.next_event()
        end = connection.next_event() if isinstance(request, h11.Request) else None
    except h11.ProtocolError:
        return None
    if not isinstance(request, h11.Request) or not isinstance(end, h11.EndOfMessage):
        return None
    hosts = [value for name, value in request.headers if name == b"host"]
    if len(hosts) != 1:
        return None
    rest = connection.trailing_data[0]
    return request.method.decode(), request.target.decode(), hosts[0].decode("latin-1"), len(data) - len(rest)


def check(data: bytes) -> None:
    """If the lane takes it, the others take it for the same."""
    ours = taken(data)
    if ours is None:
        return
    line, found, end = ours
    target = line.path + ("" if line.query is None else f"?{line.query}")
    assert by_mitmproxy(data) == (line.method, target, found.host, end)
    assert by_h11(data) == (line.method, target, found.host, end)


GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
"""A plain head without its end."""

TAKEN = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a/b%20c?d=e&f#g HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET //a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /? HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /?? HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nhOsT:a.B-c_d:8080 \t\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost:\ta\r\nX:\r\nY: \r\nZ: \xe9\x80\t.\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.\r\nCookie: a\r\nCookie: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: te\r\nTE: trailers\r\n\r\n",
]


@pytest.mark.parametrize("data", TAKEN)
def test_a_plain_head_is_taken(data: bytes) -> None:
    assert taken(data) is not None
    check(data)
    check(data + PLAIN)


NOT_TAKEN = [
    # the request line
    b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GETS / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\x0bHTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\x0b\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    b"GET / http/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\x00\r\nHost: a\r\n\r\n",
    b"GET /\r\nHost: a\r\n\r\n",
    # lines and names
    b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\tfolded\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost\t: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX_Y: z\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX\x00: z\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \x0b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\xc4\xb0: x\r\n\r\n",
    b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    # the host
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a:x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n",
    # bodies and other protocols
    GET + b"Content-Length: 0\r\n\r\n",
    GET + b"Content-Length: 5\r\n\r\nhello",
    GET + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    GET + b"Content-Length: +5\r\n\r\nhello",
    GET + b"cOnTeNt-LeNgTh: 5\r\n\r\nhello",
    GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    GET + b"Transfer-Encoding: xchunked\r\n\r\n",
    GET + b"Transfer-Encoding:\x0bchunked\r\n\r\n",
    GET + b"Transfer-Encoding : chunked\r\n\r\n",
    GET + b"Transfer-Encoding: identity\r\nContent-Length: 4\r\n\r\nabcd",
    GET + b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n",
    GET + b"Trailer: X\r\n\r\n",
    GET + b"Expect: 100-continue\r\n\r\n",
    GET + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    GET + b"Upgrade: h2c\r\n\r\n",
    GET + b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    GET + b"Connection: host\r\n\r\n",
    GET + b"Connection: close, x-forwarded-for\r\n\r\n",
    GET + b"X-Forgejo-Pages-Hop: 0123456789abcdef\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.mark.parametrize("data", NOT_TAKEN)
def test_whatever_is_not_quite_plain_is_not_taken(data: bytes) -> None:
    assert taken(data) is None
    assert taken(data + PLAIN) is None


FRAGMENTS = [
    *(b"GET", b"HEAD", b"POST", b"get", b" ", b"  ", b"\t", b"/", b"/a", b"/?b", b"*", b"http://b/", b"HTTP/1.1"),
    *(b"HTTP/1.0", b"HTTP/2.0", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"\n\r\n", b"\r\n ", b"\r\n\t", b"Host"),
    *(
        b"host: a",
        b"Host: a",
        b"Host : b",
        b": ",
        b":",
        b"a",
        b"b",
        b"a,b",
        b"X: y",
        b"X_Y: z",
        b"\x00",
        b"\x0b",
        b"\x7f",
    ),
    *(
        b"\x85",
        b"\xa0",
        b"\xff",
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"content-length:5",
        b"Transfer-Encoding: ",
    ),
    *(b"chunked", b"identity", b"Connection: close", b"Connection: keep-alive", b"Expect: 100-continue", b"Upgrade: x"),
]


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Heads that are nearly right: a plain one into which fragments are put, or from which pieces are taken."""
    data = draw(st.sampled_from([*TAKEN, *NOT_TAKEN, PLAIN, PLAIN, PLAIN]))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        piece = draw(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=3)))
        data = data[:at] + piece + data[at + draw(st.integers(0, 2)) :]
    return data + draw(st.sampled_from([b"", b"", PLAIN, b"\r\n", b"x"]))


@settings(max_examples=1000, deadline=None)
@given(heads())
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n")
def test_a_head_that_is_nearly_right_is_seen_alike_by_all_or_not_taken(data: bytes) -> None:
    check(data)


@settings(max_examples=700, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map(b"".join))
def test_a_head_out_of_fragments_is_seen_alike_by_all_or_not_taken(data: bytes) -> None:
    check(data)
    check(b"GET / HTTP/1.1\r\nHost: a\r\n" + data + END)


@settings(max_examples=500, deadline=None)
@given(heads())
def test_an_end_that_others_would_see_earlier_is_not_waited_for(data: bytes) -> None:
    """h11 and mitmproxy end a head at any empty line; where that comes before ours, nobody may be kept waiting."""
    for size in range(len(data)):
        start = data[:size]
        if start.find(END, 2 if start.startswith(b"\r\n") else 0) >= 0:
            return
        body = start[2:] if start.startswith(b"\r\n") else start
        if re.search(rb"\n\r?\n", body):
            assert strays(start)


STRAYS = [
    (b"", False),
    (b"\r", False),
    (b"\r\n", False),
    (b"\r\nG", False),
    (b"G", False),
    (b"POST /x", False),
    (b"A", False),
    (b"Z", False),
    (b"@", True),
    (b"[", True),
    (b"GET / HTTP/1.1\r\nHo", False),
    (b"GET / HTTP/1.1\r", False),
    (b"GET / HTTP/1.1\n", True),
    (b"get", True),
    (b"\x16", True),
    (b"\x00", True),
    (b" ", True),
    (b"\n", True),
    (b"\r\n\r", False),
    (b"\r\n\n", True),
    (b"\r\n\r\n", True),
    (b"GET / HTTP/1.1\r\nHost: a\n\r\n", True),
]


@pytest.mark.parametrize(("start", "gone"), STRAYS)
def test_a_beginning_that_cannot_become_ours_is_known_for_one(start: bytes, gone: bool) -> None:
    assert strays(start) is gone


def test_values_are_joined_stripped_and_found_by_lower_case_name() -> None:
    found = fields(b"Host: A:80\r\nAccept-Encoding:  gzip\t\r\naccept-encoding: br\r\nX-Empty:")
    assert found is not None
    assert found.host == "A:80"
    assert found.values == {b"host": b"A:80", b"accept-encoding": b"gzip, br", b"x-empty": b""}


KEYS = [
    b"Host: a",
    b"Host: A",
    b"Host: a:80",
    b"Host: a\r\nAccept-Encoding:",
    b"Host: a\r\nIf-None-Match:",
    b"Host: a\r\nAccept-Encoding:\r\nIf-None-Match:",
    b'Host: a\r\nIf-None-Match: "b"',
    b'Host: a\r\nAccept-Encoding: "b"',
    b'Host: a\r\nAccept-Encoding:\r\nIf-None-Match: "b"',
]


def test_the_key_tells_apart_whatever_an_answer_may_depend_on() -> None:
    keys = {block: fields(block) for block in KEYS}
    assert len({found.key for found in keys.values() if found is not None}) == len(KEYS)
    same = fields(b"User-Agent: x\r\nHost: a\r\nCookie: y")
    first = keys[b"Host: a"]
    assert same is not None
    assert first is not None
    assert same.key == first.key


@pytest.mark.parametrize(
    ("cache_control", "plain"),
    [
        (None, True),
        (b"max-age=0", True),
        (b"no-cache", False),
        (b"max-age=0, No-Cache", False),
    ],
)
def test_who_asks_for_what_is_there_now_gets_no_answer_that_was_ready(cache_control: bytes | None, plain: bool) -> None:
    found = fields(b"Host: a" + (b"" if cache_control is None else b"\r\nCache-Control: " + cache_control))
    assert found is not None
    assert found.plain is plain


def test_reading_takes_time_that_grows_no_faster_than_the_head() -> None:
    def took(size: int) -> float:
        blocks = [
            b"Host: a\r\n" + b"X" * size,
            b"Host: a\r\nX:" + b" " * size + b"\x00",
            b"A:\r\n" * (size // 4) + b"\x00",
        ]
        began = thread_time()  # the processor's time: what others do on the machine does not count
        for block in blocks:
            fields(block)
            strays(b"GET " + block)
            request_line(b"GET /" + b"?" * size)
        return thread_time() - began

    took(1000)
    small, large = min(took(20_000) for _ in range(5)), min(took(200_000) for _ in range(5))
    assert large < 40 * small + 0.01
