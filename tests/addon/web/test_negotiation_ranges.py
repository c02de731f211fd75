# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""Range and If-Range against RFC 9110 §13.1.5 and §14: which bytes, and of which form."""

from dataclasses import replace

import pytest

from addon.web.codings import IDENTITY
from addon.web.representation import Form, entity_tag
from tests.addon.web.negotiation_cases import (
    AFTER,
    BEFORE,
    BLOB,
    BR,
    DATE,
    EMPTY,
    GZIP,
    MODIFIED,
    OTHER,
    PAGE,
    SIZES,
    TAG,
    Fields,
    ask,
    coding,
    header,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # §14.1.2, of 10000 bytes
        ("bytes=0-499", (0, 500)),
        ("bytes=500-999", (500, 1000)),
        ("bytes=-500", (9500, 10000)),
        ("bytes=9500-", (9500, 10000)),
        ("bytes=0-0", (0, 1)),
        ("bytes=-1", (9999, 10000)),
        ("bytes=0-", (0, 10000)),
        ("bytes=9999-", (9999, 10000)),
        ("bytes=9999-99999", (9999, 10000)),
        ("bytes=-99999", (0, 10000)),
        ("bytes=0-" + "9" * 5000, (0, 10000)),
        ("bytes=-" + "9" * 5000, (0, 10000)),
        ("bytes=" + "0" * 5000 + "7-8", (7, 9)),
        ("bytes=" + "0" * 5000 + "-8", (0, 9)),
        ("BYTES=1-2", (1, 3)),
        ("bytes= 1-2 ", (1, 3)),
        (" bytes=1-2", (1, 3)),
        ("bytes=\t1-2", (1, 3)),
        ("bytes=,1-2,", (1, 3)),
        ("bytes=10000-", 416),
        ("bytes=10000-10001", 416),
        ("bytes=" + "9" * 5000 + "-", 416),
        ("bytes=-0", 416),
        # Several: answered whole
        ("bytes=0-0,-1", 200),
        ("bytes=0-1, 5-6", 200),
        ("bytes=20000-,30000-", 200),
        # Not a range: as if it were not there (§14.2)
        ("bytes=5-4", 200),
        ("bytes=-", 200),
        ("bytes=", 200),
        ("bytes", 200),
        ("bytes=abc", 200),
        ("bytes=1-x", 200),
        ("bytes=--1", 200),
        ("bytes=1--2", 200),
        ("bytes=+1-2", 200),
        ("bytes=1 - 2", 200),
        ("bytes=1", 200),
        ("bytes=0x1-0x2", 200),
        ("bytes:0-1", 200),
        ("bytes 0-1", 200),
        ("bytes=0-1, bytes=2-3", 200),
        ("lines=0-1", 200),
        ("items=0-1", 200),
        ("0-1", 200),
        ("", 200),
        ("bytes=\xb2-\xb3", 200),
        ("bytes=0-1;x", 200),
    ],
)
def test_ranges_are_cut_as_the_rfc_says(value: str, expected: tuple[int, int] | int) -> None:
    plan = ask({"Range": value})
    if isinstance(expected, tuple):
        start, end = expected
        assert (plan.status, plan.start, plan.end) == (206, start, end)
        assert header(plan, "Content-Range") == f"bytes {start}-{end - 1}/10000"
        assert header(plan, "Content-Length") == str(end - start)
    elif expected == 416:
        assert (plan.status, plan.has_body) == (416, False)
        assert header(plan, "Content-Range") == "bytes */10000"
        assert header(plan, "Content-Length") == "0"
    else:
        assert (plan.status, plan.start, plan.end) == (200, 0, 10000)
        assert header(plan, "Content-Range") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-", 416),
        ("bytes=0-0", 416),
        ("bytes=5-9", 416),
        ("bytes=-0", 416),
        ("bytes=-5", 200),  # satisfiable by §14.1.2, though no Content-Range could say so
    ],
)
def test_ranges_of_an_empty_file(value: str, expected: int) -> None:
    plan = ask({"Range": value}, EMPTY)
    assert plan.status == expected
    assert header(plan, "Content-Range") == ("bytes */0" if expected == 416 else None)
    assert header(plan, "Content-Length") == "0"


def test_a_206_repeats_what_a_200_says_about_the_file() -> None:
    whole, part = ask({}), ask({"Range": "bytes=0-9"})
    changed = {b"Content-Length", b"Content-Range"}
    assert {p for p in part.headers if p[0] not in changed} == {p for p in whole.headers if p[0] not in changed}


def test_ranges_are_for_get_alone() -> None:
    for value in ("bytes=0-9", "bytes=99999-"):
        plan = ask({"Range": value}, method="HEAD")
        assert (plan.status, header(plan, "Content-Length")) == (200, "10000")


@pytest.mark.parametrize(
    ("fields", "status", "expected"),
    [
        # Without a name of the form it holds, a client counts in the bytes of the file.
        ({"Accept-Encoding": "br"}, 206, IDENTITY),
        ({"Accept-Encoding": "gzip, deflate, br, zstd"}, 206, IDENTITY),
        ({"Accept-Encoding": "identity;q=0, br"}, 206, "br"),
        ({"Accept-Encoding": "*;q=0, gzip"}, 206, "gzip"),
        ({"Accept-Encoding": "identity;q=0"}, 206, IDENTITY),
        # If-Range: strong comparison, the very form (§13.1.5)
        ({"If-Range": TAG}, 206, IDENTITY),
        ({"If-Range": f" {TAG} "}, 206, IDENTITY),
        ({"If-Range": TAG, "Accept-Encoding": "br"}, 206, IDENTITY),
        ({"If-Range": BR, "Accept-Encoding": "br"}, 206, "br"),
        ({"If-Range": GZIP, "Accept-Encoding": "br, gzip"}, 206, "gzip"),
        ({"If-Range": BR}, 206, "br"),
        ({"If-Range": TAG, "Accept-Encoding": "br, identity;q=0"}, 200, "br"),
        ({"If-Range": TAG, "Accept-Encoding": "deflate, identity;q=0"}, 206, IDENTITY),
        ({"If-Range": BR, "Accept-Encoding": "gzip"}, 200, "gzip"),
        ({"If-Range": BR, "Accept-Encoding": ""}, 200, IDENTITY),
        ({"If-Range": f"W/{TAG}"}, 200, IDENTITY),
        ({"If-Range": f"W/{BR}", "Accept-Encoding": "br"}, 200, "br"),
        ({"If-Range": OTHER, "Accept-Encoding": "br"}, 200, "br"),
        ({"If-Range": f"{TAG}, {OTHER}"}, 200, IDENTITY),
        ({"If-Range": "*"}, 200, IDENTITY),
        ({"If-Range": BLOB}, 200, IDENTITY),
        ({"If-Range": ""}, 200, IDENTITY),
        ({"If-Range": DATE}, 206, IDENTITY),
        ({"If-Range": "Sunday, 06-Nov-94 08:49:37 GMT"}, 206, IDENTITY),
        ({"If-Range": BEFORE}, 200, IDENTITY),
        ({"If-Range": AFTER}, 200, IDENTITY),
        # A date is the same for all forms: it cannot mean the encoded one.
        ({"If-Range": DATE, "Accept-Encoding": "br"}, 200, "br"),
        # If-Match names a form as If-Range does.
        ({"If-Match": BR, "Accept-Encoding": "br"}, 206, "br"),
        ({"If-Match": TAG, "Accept-Encoding": "br"}, 206, IDENTITY),
        ({"If-Match": "*", "Accept-Encoding": "br"}, 206, IDENTITY),
        ({"If-Match": BR, "If-Range": BR, "Accept-Encoding": "br"}, 206, "br"),
        ({"If-Match": BR, "If-Range": TAG, "Accept-Encoding": "br"}, 200, "br"),
        ({"If-Unmodified-Since": DATE, "Accept-Encoding": "br"}, 206, IDENTITY),
    ],
)
def test_a_range_is_cut_out_of_the_form_that_the_client_holds(fields: Fields, status: int, expected: str) -> None:
    plan = ask(fields | {"Range": "bytes=100-199"})
    assert (plan.status, coding(plan)) == (status, expected)
    assert header(plan, "Content-Encoding") == (None if expected == IDENTITY else expected)
    assert header(plan, "ETag") == entity_tag(BLOB, expected).decode()
    if status == 206:
        assert header(plan, "Content-Range") == f"bytes 100-199/{SIZES[expected]}"
    else:
        assert plan.end == SIZES[expected]


def test_if_range_without_a_range_means_nothing() -> None:
    assert ask({"If-Range": OTHER}).status == 200
    assert coding(ask({"If-Range": TAG, "Accept-Encoding": "br"})) == "br"


def test_a_date_of_this_very_second_is_no_strong_validator() -> None:
    fields = {"Range": "bytes=0-9", "If-Range": DATE}
    assert ask(fields, now=MODIFIED + 0.5).status == 200
    assert ask(fields, now=MODIFIED + 1.0).status == 206


def test_a_range_of_a_form_not_made_yet_waits_for_it() -> None:
    page = replace(PAGE, encoded=(Form("br", None, None),))
    fields = {"Range": "bytes=0-9", "If-Range": BR, "Accept-Encoding": "br"}
    assert ask(fields, page).pending
    plan = ask(fields, page.made("br", 50))
    assert (plan.status, header(plan, "Content-Range")) == (206, "bytes 0-9/50")
