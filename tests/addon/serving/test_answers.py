# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Answers that need no file: their status, what may be kept of them, what the operator is told of why."""

import pytest

from addon.forgejo import errors
from addon.serving.answers import (
    REASONS,
    UNREAD,
    Answer,
    Request,
    answer_to_method,
    because,
    misshapen,
    own_not_found,
    own_page,
    plain_text,
    reason_of,
    redirect,
    trouble_page,
)
from addon.web.prepared_answers import NOTHING, About
from tests.addon.serving.pages import fields


def asked(method: str = "GET", query: str | None = None) -> Request:
    return Request(method, "a.test", "/x", query, UNREAD.header, UNREAD.visitor)


@pytest.mark.parametrize(
    ("trouble", "status", "retry", "reason"),
    [
        (None, 502, b"5", "forgejo"),
        (errors.Unreachable("x"), 502, b"5", "forgejo"),
        (errors.ServerTrouble("x"), 502, b"5", "forgejo"),
        (errors.BadAnswer("x"), 502, b"5", "forgejo"),
        (errors.DeadlineExceeded("x"), 504, b"5", "forgejo"),
        (errors.Overloaded("x"), 503, b"1", "busy"),
        (errors.Overloaded("x", retry_after=7), 503, b"7", "busy"),
        (errors.Overloaded("x", retry_after=0), 503, b"1", "busy"),
        (errors.RateLimited("x", retry_after=30), 503, b"30", "rationed"),
        (errors.RateLimited("x", retry_after=0), 503, b"1", "rationed"),
        (errors.Refused("x"), 403, None, "forbidden"),
        (errors.NotFound("x"), 404, None, "no file"),
        (errors.TooManyFiles(5), 500, None, "fault"),
    ],
)
def test_trouble_is_a_page_that_says_when_to_come_again(
    trouble: errors.ForgejoError | None, status: int, retry: bytes | None, reason: str
) -> None:
    answer = trouble_page(asked(), trouble)
    assert answer.status == status
    assert fields(answer).get(b"retry-after") == retry
    assert fields(answer)[b"cache-control"] == b"no-store"
    assert reason_of(status, answer.about) == reason
    assert answer.about.detail == ("" if trouble is None else str(trouble))
    assert str(status).encode() in answer.body


@pytest.mark.parametrize("status", range(200, 600))
def test_what_is_no_page_has_a_reason_that_is_counted(status: int) -> None:
    reason = reason_of(status, NOTHING)
    assert (reason in REASONS) is (status >= 400)
    assert reason_of(status, About("a/b", "c", "redis")) == "redis"


def test_the_reason_of_an_answer_leaves_the_site_that_it_is_of() -> None:
    answer = Answer(404, [], about=About("a/b", "c" * 40))
    assert because(answer, "no file", "x") is answer
    assert answer.about == About("a/b", "c" * 40, "no file", "x")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_page_of_ours_is_never_kept_and_has_a_body_for_who_asks_for_one(method: str) -> None:
    for answer, body in (
        (own_page(asked(method), 410, b"page"), b"page"),
        (plain_text(asked(method), b"text"), b"text"),
    ):
        said = fields(answer)
        assert answer.body == (b"" if method == "HEAD" else body)
        assert said[b"content-length"] == b"4"
        assert (said[b"cache-control"], said[b"x-content-type-options"]) == (b"no-store", b"nosniff")
    assert fields(own_page(asked(), 200, b"", b"public"))[b"cache-control"] == b"public"


def test_who_is_not_understood_is_told_and_a_head_that_is_too_large_forgets_its_cookies() -> None:
    assert (misshapen().status, misshapen("no host").status) == (400, 400)
    assert b"no host" in misshapen("no host").body
    for status in (400, 408, 421, 431):
        said = fields(misshapen(status=status))
        assert said.get(b"clear-site-data") == (b'"cookies"' if status == 431 else None)


@pytest.mark.parametrize(
    ("method", "status"),
    [("GET", None), ("HEAD", None), ("OPTIONS", 204), ("POST", 405), ("DELETE", 405), ("BREW", 501), ("get", 501)],
)
def test_a_method_that_reads_nothing_is_answered_alike_everywhere(method: str, status: int | None) -> None:
    answer = answer_to_method(asked(method))
    assert (None if answer is None else answer.status) == status
    if answer is not None and status != 204:
        assert fields(answer)[b"allow"] == b"GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    ("query", "location"),
    [
        (None, b"/x/"),
        ("", b"/x/?"),
        ("a=b&c=%20d", b"/x/?a=b&c=%20d"),
        ("a b\r\n#", b"/x/?a%20b%0D%0A%23"),
        ("\udcff", b"/x/?%FF"),
    ],
)
def test_a_redirect_takes_the_query_along_and_is_forgotten_in_a_minute(query: str | None, location: bytes) -> None:
    answer = redirect(asked(query=query), "/x/")
    assert (answer.status, answer.body, answer.length) == (301, b"", 0)
    assert fields(answer) == {
        b"location": location,
        b"cache-control": b"public, max-age=60",
        b"content-length": b"0",
        b"access-control-allow-origin": b"*",
    }


def test_what_is_not_below_our_own_paths_says_whose_they_are() -> None:
    answer = own_not_found(asked(), "/.pages/x")
    assert (answer.status, fields(answer)[b"x-pages-server"]) == (404, b"forgejo-pages")
    assert b"/.pages/x" in answer.body


def test_an_answer_that_says_nothing_else_is_502_where_its_stream_fails() -> None:
    assert Answer(200, []).otherwise(ValueError()).status == 502
