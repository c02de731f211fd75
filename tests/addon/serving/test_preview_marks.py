# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What marks an answer as a preview's: what nobody may keep, which pages have the bar, who has the page already."""

import re

import pytest

from addon import templates
from addon.serving.answers import UNREAD, Answer, Request
from addon.serving.preview_marks import marked, takes_bar, whole, with_bar
from tests.addon.serving.pages import fields

HTML = (b"Content-Type", b"text/html; charset=utf-8")


def asked(method: str = "GET", **fields: str) -> Request:
    said = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
    return Request(method, "a.test", "/", None, said.get, UNREAD.visitor)


@pytest.mark.parametrize(
    ("control", "kept"),
    [
        (None, b"no-cache"),
        (b"public, max-age=600", b"no-cache"),
        (b"no-store", b"no-store"),
        (b"No-Store, x", b"No-Store, x"),
        (b"Private, max-age=0", b"Private, max-age=0"),
    ],
)
def test_nobody_keeps_a_preview(control: bytes | None, kept: bytes) -> None:
    headers = [
        *([(b"Cache-Control", control)] if control is not None else []),
        (b"Expires", b"tomorrow"),
        (b"CDN-Cache-Control", b"max-age=9"),
        (b"Surrogate-Control", b"max-age=9"),
        (b"X-Robots-Tag", b"all"),
        (b"X-Pages-Preview", b"no"),
        (b"ETag", b'"a"'),
    ]
    answer = marked(Answer(200, headers, b"x"), "alice/blog@dev")
    assert fields(answer) == {
        b"etag": b'"a"',
        b"cache-control": kept,
        b"x-robots-tag": b"noindex",
        b"x-pages-preview": b"alice/blog@dev",
    }


def test_what_comes_in_the_place_of_a_stream_is_marked_as_well() -> None:
    answer = marked(Answer(200, [], stream=lambda: None, otherwise=lambda error: Answer(504, [])), "p")  # type: ignore[arg-type,return-value]
    instead = answer.otherwise(ValueError())
    assert (instead.status, fields(instead)[b"x-pages-preview"]) == (504, b"p")


def test_a_page_for_the_bar_is_asked_for_as_it_is() -> None:
    conditions = ("accept-encoding", "range", "if-range", "if-match", "if-none-match", "if-modified-since")
    request = asked(
        **dict.fromkeys((*(name.replace("-", "_") for name in conditions), "if_unmodified_since"), "x"), accept="y"
    )
    assert [request.header(name.encode()) for name in conditions] == [b"x"] * 6
    bare = whole(request)
    assert [bare.header(name.encode()) for name in (*conditions, "if-unmodified-since")] == [None] * 7
    assert bare.header(b"accept") == b"y"
    assert (bare.method, bare.host, bare.path) == (request.method, request.host, request.path)


@pytest.mark.parametrize(
    ("answer", "takes"),
    [
        (Answer(200, [HTML], b"x"), True),
        (Answer(404, [HTML], b"x"), True),
        (Answer(206, [HTML], b"x"), False),
        (Answer(500, [HTML], b"x"), False),
        (Answer(304, [HTML]), False),
        (Answer(200, [(b"content-type", b"Text/HTML")], b"x"), True),
        (Answer(200, [(b"Content-Type", b'text/html;charset="windows-1252" ')], b"x"), True),
        (Answer(200, [(b"Content-Type", b"text/html; charset=utf-16")], b"x"), False),
        (Answer(200, [(b"Content-Type", b"text/plain")], b"x"), False),
        (Answer(200, [], b"x"), False),
        (Answer(200, [HTML, (b"Content-Encoding", b"br")], b"x"), False),
        (Answer(200, [HTML, (b"Content-Security-Policy", b"default-src 'self'")], b"x"), True),
        (Answer(200, [HTML, (b"Content-Security-Policy", templates.content_security_policy().encode())], b"x"), False),
        (Answer(200, [HTML], stream=lambda: None), False),  # type: ignore[arg-type,return-value]
    ],
)
def test_which_answers_take_a_bar(answer: Answer, takes: bool) -> None:
    assert takes_bar(answer) is takes


def page(status: int = 200, tag: bool = True) -> Answer:
    headers = [
        (b"Content-Length", b"4"),
        HTML,
        (b"Accept-Ranges", b"bytes"),
        (b"Last-Modified", b"then"),
        (b"Vary", b"A"),
    ]
    return Answer(status, headers + ([(b"ETag", b'"tag"')] if tag else []), b"page")


def test_the_bar_is_behind_the_page_and_counts() -> None:
    answer = with_bar(asked(), page(), "It's <b>new</b> & ü", "a/b")
    assert answer.body.startswith(b'page\n<div role="note"')
    assert answer.body.isascii()
    assert b'It&#x27;s &lt;b&gt;new&lt;/b&gt; &amp; &#252; <span dir="ltr">a/b</span></div>\n' in answer.body
    said = fields(answer)
    assert said[b"content-length"] == b"%d" % len(answer.body)
    assert (said[b"vary"], said.keys() & {b"accept-ranges", b"last-modified"}) == (b"A", set())
    assert re.fullmatch(rb'"tag-[0-9a-f]{10}"', said[b"etag"])
    other = fields(with_bar(asked(), page(), "other", "a/b"))
    assert other[b"etag"] != said[b"etag"]
    assert b"etag" not in fields(with_bar(asked(), page(tag=False), "x", "a/b"))


def test_head_has_the_length_of_get_and_no_body() -> None:
    whole_page, head = with_bar(asked(), page(), "x", "a/b"), page()
    head.body = b""
    head = with_bar(asked("HEAD"), head, "x", "a/b")
    assert (head.body, fields(head)) == (b"", fields(whole_page))


@pytest.mark.parametrize(
    ("said", "has_it"),
    [
        ("TAG", True),
        ("W/TAG", True),
        ('"x", TAG', True),
        ('"x" ,W/TAG ', True),
        (" * ", True),
        ('"x"', False),
        ('"tag"', False),
        ("x" * 4_000 + ",TAG", True),
        ("x" * 4_097 + ",TAG", False),
    ],
)
def test_who_has_the_page_with_the_bar_is_told_so(said: str, has_it: bool) -> None:
    tag = fields(with_bar(asked(), page(), "x", "a/b"))[b"etag"].decode()
    answer = with_bar(asked(if_none_match=said.replace("TAG", tag)), page(), "x", "a/b")
    assert answer.status == (304 if has_it else 200)
    if has_it:
        assert answer.body == b""
        assert fields(answer) == {b"vary": b"A", b"etag": tag.encode()}
    missing = with_bar(asked(if_none_match=said.replace("TAG", tag)), page(404), "x", "a/b")
    assert missing.status == 404
    assert with_bar(asked(if_none_match="*"), page(tag=False), "x", "a/b").status == 200
