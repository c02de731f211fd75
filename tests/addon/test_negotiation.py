# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""Negotiation against the text of RFC 9110: which status, which headers, which bytes."""

import gzip
import random
from dataclasses import replace

import brotli  # type: ignore[import-untyped]  # it comes without annotations
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from addon.negotiation import (
    CODINGS,
    IDENTITY,
    Form,
    Plan,
    Representation,
    cache_control,
    encode,
    encoded_forms,
    entity_tag,
    http_date,
    negotiate,
    parse_http_date,
    preflight,
)

BLOB = "8ab686eafeb1f44702738c8b0f24f2567c36da6d"
MODIFIED = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples
NOW = 1_700_000_000.0
HTML = "text/html; charset=utf-8"
SIZES = {"br": 3000, "zstd": 3500, "gzip": 4000, IDENTITY: 10000}
PAGE = Representation(
    HTML,
    SIZES[IDENTITY],
    BLOB,
    MODIFIED,
    cache_control(True, 300),
    tuple(Form(coding, SIZES[coding], None) for coding in CODINGS),
)
IMAGE = Representation("image/png", 1000, BLOB, MODIFIED, cache_control(False, 300))
EMPTY = replace(IMAGE, size=0)

TAG = f'"{BLOB}"'
BR, ZSTD, GZIP = (f'"{BLOB}-{coding}"' for coding in CODINGS)
OTHER = '"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"'
BEFORE, DATE, AFTER = (http_date(MODIFIED + shift).decode() for shift in (-1, 0, 1))
FUTURE = http_date(int(NOW) + 3600).decode()

Fields = dict[str, str]


def ask(fields: Fields, of: Representation = PAGE, method: str = "GET", status: int = 200, now: float = NOW) -> Plan:
    lookup = {name.lower().encode(): value.encode("latin-1") for name, value in fields.items()}
    return negotiate(method, lookup.get, of, now, status)


def header(plan: Plan, name: str) -> str | None:
    values = [value for field, value in plan.headers if field.lower() == name.lower().encode()]
    assert len(values) <= 1, f"{name} twice"
    return values[0].decode("latin-1") if values else None


def coding(plan: Plan) -> str:
    assert plan.form is not None
    return plan.form.coding


# ---------------------------------------------------------------- plain answers


def test_a_plain_get_is_answered_with_the_whole_file_and_all_that_caches_need() -> None:
    plan = ask({}, IMAGE)
    assert (plan.status, plan.start, plan.end, plan.has_body) == (200, 0, 1000, True)
    assert dict(plan.headers) == {
        b"Content-Type": b"image/png",
        b"Content-Length": b"1000",
        b"ETag": TAG.encode(),
        b"Last-Modified": b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Cache-Control": b"public, max-age=300",
        b"Accept-Ranges": b"bytes",
        b"X-Content-Type-Options": b"nosniff",
        b"Access-Control-Allow-Origin": b"*",
    }


def test_html_is_asked_for_again_each_time() -> None:
    assert header(ask({}), "Cache-Control") == "public, max-age=0, must-revalidate"


def test_an_encoded_answer_names_its_coding_its_length_and_its_own_tag() -> None:
    plan = ask({"Accept-Encoding": "gzip, deflate, br, zstd"})
    assert plan.form == Form("br", 3000, None)
    assert (plan.start, plan.end) == (0, 3000)
    assert header(plan, "Content-Encoding") == "br"
    assert header(plan, "Content-Length") == "3000"
    assert header(plan, "ETag") == BR
    assert header(plan, "Vary") == "Accept-Encoding"
    assert header(plan, "Content-Type") == HTML


@pytest.mark.parametrize(
    "fields",
    [{}, {"Accept-Encoding": "br"}, {"Range": "bytes=0-9"}, {"If-None-Match": TAG}, {"Accept-Encoding": "gzip;q=0"}],
)
def test_every_answer_about_a_file_with_several_forms_varies(fields: Fields) -> None:
    plan = ask(fields)
    assert plan.status in (200, 206, 304)
    assert header(plan, "Vary") == "Accept-Encoding"
    assert header(ask(fields, IMAGE), "Vary") is None


def test_plain_answers_are_the_same_object_each_time() -> None:
    for fields in ({}, {"Accept-Encoding": "br"}, {"If-None-Match": TAG}):
        assert ask(fields) is ask(fields)


def test_the_lines_of_a_plan_are_its_headers_on_the_wire() -> None:
    plan = ask({}, IMAGE)
    assert plan.lines.endswith(b"\r\n")
    assert plan.lines.split(b"\r\n")[:-1] == [name + b": " + value for name, value in plan.headers]
    assert plan.lines is plan.lines


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Accept-Encoding": "br"},
        {"Accept-Encoding": "gzip;q=1, br;q=0.5"},
        {"If-None-Match": TAG},
        {"If-None-Match": OTHER},
        {"If-Match": OTHER},
        {"If-Modified-Since": DATE},
    ],
)
def test_head_gets_the_headers_of_get_and_no_body(fields: Fields) -> None:
    get, head = ask(fields), ask(fields, method="HEAD")
    assert (head.status, head.headers) == (get.status, get.headers)
    assert not head.has_body


def test_a_file_without_a_blob_id_has_no_tag_and_is_validated_by_its_date() -> None:
    listing = replace(IMAGE, tag=None)
    assert header(ask({}, listing), "ETag") is None
    assert ask({"If-Match": TAG}, listing).status == 412
    assert ask({"If-Match": ""}, listing).status == 412
    assert ask({"If-None-Match": ""}, listing).status == 200
    unchanged = ask({"If-Modified-Since": DATE}, listing)
    assert (unchanged.status, header(unchanged, "Last-Modified")) == (304, DATE)


def test_without_a_date_dates_are_not_compared() -> None:
    undated = replace(IMAGE, last_modified=None)
    assert header(ask({}, undated), "Last-Modified") is None
    for name in ("If-Modified-Since", "If-Unmodified-Since"):
        assert ask({name: DATE}, undated).status == 200
    assert ask({"Range": "bytes=0-1", "If-Range": DATE}, undated).status == 200


def test_last_modified_is_never_in_the_future() -> None:
    early = float(MODIFIED - 100)
    plan = ask({}, now=early)
    assert header(plan, "Last-Modified") == http_date(MODIFIED - 100).decode()
    assert header(plan, "ETag") == TAG
    assert header(ask({}), "Last-Modified") == DATE


def test_headers_of_the_site_replace_ours_and_join_vary() -> None:
    extra = (
        (b"cache-control", b"no-cache"),
        (b"Vary", b"Cookie"),
        (b"X-Clacks-Overhead", b"GNU"),
        (b"Content-Security-Policy", b"default-src 'self'"),
        (b"Content-Language", b"de"),
    )
    site = replace(PAGE, extra=extra)
    for fields in ({}, {"Range": "bytes=0-1"}, {"If-None-Match": TAG}):
        plan = ask(fields, site)
        assert header(plan, "Cache-Control") == "no-cache"
        assert header(plan, "Vary") == "Accept-Encoding, Cookie"
        assert header(plan, "X-Clacks-Overhead") == "GNU"
        assert header(plan, "Content-Security-Policy") == "default-src 'self'"
        assert header(plan, "Content-Language") == (None if plan.status == 304 else "de")


# ---------------------------------------------------------------- Accept-Encoding


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, IDENTITY),
        ("", IDENTITY),
        (" ", IDENTITY),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("deflate", IDENTITY),
        ("compress, gzip", "gzip"),
        ("identity", IDENTITY),
        ("*", "br"),
        ("gzip, br", "br"),
        ("gzip, zstd", "zstd"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip;q=1.0, br;q=0.9", "gzip"),
        ("gzip;q=0.5, zstd;q=0.6, br;q=0.4", "zstd"),
        ("br;q=0, gzip", "gzip"),
        ("br;q=0.0, *", "zstd"),
        ("br;q=0.000,zstd;q=0,*;q=0.5", "gzip"),
        ("*;q=0", IDENTITY),
        ("*;q=0, gzip", "gzip"),
        ("identity;q=0", IDENTITY),  # nothing is acceptable: the file itself all the same
        ("identity;q=0, *;q=0", IDENTITY),
        ("identity;q=0, gzip;q=0.1", "gzip"),
        ("identity;q=1, *;q=0", IDENTITY),
        ("identity;q=1, gzip;q=0.5", IDENTITY),
        ("identity;q=0.5, gzip;q=1.0, *;q=0", "gzip"),
        ("gzip;q=0.001", "gzip"),
        ("identity, gzip", "gzip"),
        ("gzip ; q=0.2 , br ;q=0.1", "gzip"),
        ("gzip;Q=0.2,br;q=0.1", "gzip"),
        ("\tgzip\t,\t", "gzip"),
        (",,gzip,,", "gzip"),
        ("gzip;q=1.", "gzip"),
        ("gzip;q=0.", IDENTITY),
        # Not as the grammar has it: that member is passed over.
        ("gzip;q=2", IDENTITY),
        ("gzip;q=-1", IDENTITY),
        ("gzip;q=0.1234", IDENTITY),
        ("gzip;q=abc", IDENTITY),
        ("gzip;q=", IDENTITY),
        ("gzip;level=9", IDENTITY),
        ("gzip br", IDENTITY),
        ("gzip;q=nan, br", "br"),
        (";;;", IDENTITY),
        ('"gzip"', IDENTITY),
        ("\xff", IDENTITY),
        ("gzip, " * 100 + "br", "br"),
    ],
)
def test_the_best_form_that_the_client_accepts_is_sent(value: str | None, expected: str) -> None:
    plan = ask({} if value is None else {"Accept-Encoding": value})
    assert coding(plan) == expected
    assert header(plan, "Content-Encoding") == (None if expected == IDENTITY else expected)
    assert header(plan, "Content-Length") == str(SIZES[expected])


def test_a_file_without_encoded_forms_is_sent_as_it_is() -> None:
    for value in ("br", "*", "identity;q=0", "identity;q=0, gzip"):
        assert coding(ask({"Accept-Encoding": value}, IMAGE)) == IDENTITY


def test_a_form_not_made_yet_is_pending_until_its_size_is_known() -> None:
    page = Representation(HTML, 10000, BLOB, MODIFIED, "no-cache", encoded_forms(HTML, 10000))
    fields = {"Accept-Encoding": "br"}
    for method in ("GET", "HEAD"):
        plan = ask(fields, page, method)
        assert (plan.pending, coding(plan), header(plan, "Content-Length")) == (True, "br", None)
    assert not ask({}, page).pending
    assert ask(fields | {"If-None-Match": BR}, page).status == 304

    made = ask(fields, page.made("br", 2500))
    assert (made.pending, header(made, "Content-Length"), made.end) == (False, "2500", 2500)
    assert header(made, "ETag") == BR

    no_smaller = ask(fields, page.without("br"))
    assert (no_smaller.pending, coding(no_smaller)) == (False, IDENTITY)
    assert coding(ask({"Accept-Encoding": "br, zstd"}, page.without("br"))) == "zstd"


@pytest.mark.parametrize(
    ("content_type", "size", "makeable", "beside", "expected"),
    [
        (HTML, 10000, True, {}, [("br", None, None), ("zstd", None, None), ("gzip", None, None)]),
        (HTML, 256, True, {}, [("br", None, None), ("zstd", None, None), ("gzip", None, None)]),
        (HTML, 255, True, {}, []),
        (HTML, 10000, False, {}, []),
        ("image/png", 10000, True, {}, []),
        ("image/png", 10000, True, {".gz": ("f00", 9000)}, []),
        (HTML, 10000, False, {".gz": ("f00", 4000)}, [("gzip", 4000, "f00")]),
        (
            HTML,
            10000,
            False,
            {".br": ("f01", 3000), ".gz": ("f00", 4000)},
            [("br", 3000, "f01"), ("gzip", 4000, "f00")],
        ),
        (HTML, 10000, True, {".zst": ("f02", 1)}, [("br", None, None), ("zstd", 1, "f02"), ("gzip", None, None)]),
        (HTML, 100, True, {".gz": ("f00", 90)}, [("gzip", 90, "f00")]),
        (HTML, 100, True, {".gz": ("f00", 100)}, []),  # no smaller than the file
        (HTML, 1000, False, {".gz": ("f00", 1001)}, []),
        (HTML, 1000, False, {".lz": ("f00", 10)}, []),
    ],
)
def test_forms_are_offered_of_what_shrinks_and_files_beside_it_go_first(
    content_type: str,
    size: int,
    makeable: bool,
    beside: dict[str, tuple[str, int]],
    expected: list[tuple[str, int | None, str | None]],
) -> None:
    assert [tuple(form) for form in encoded_forms(content_type, size, makeable=makeable, beside=beside)] == expected


def test_the_tag_of_a_form_that_lies_beside_the_file_is_made_of_its_own_blob() -> None:
    beside = "c0ffee" * 6 + "c0ff"
    page = replace(PAGE, encoded=(Form("br", 3000, beside),))
    plan = ask({"Accept-Encoding": "br"}, page)
    assert header(plan, "ETag") == f'"{beside}-br"'
    assert ask({"Accept-Encoding": "br", "If-None-Match": BR}, page).status == 200


# ---------------------------------------------------------------- conditions


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # If-Match (§13.1.1): strong comparison
        ({"If-Match": TAG}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": " * "}, 200),
        ({"If-Match": OTHER}, 412),
        ({"If-Match": f"{OTHER}, {TAG}"}, 200),
        ({"If-Match": f"W/{TAG}"}, 412),
        ({"If-Match": f"w/{TAG}"}, 412),
        ({"If-Match": "garbage"}, 412),
        ({"If-Match": BLOB}, 412),
        ({"If-Match": ""}, 412),
        # If-Unmodified-Since (§13.1.4)
        ({"If-Unmodified-Since": DATE}, 200),
        ({"If-Unmodified-Since": AFTER}, 200),
        ({"If-Unmodified-Since": BEFORE}, 412),
        ({"If-Unmodified-Since": FUTURE}, 200),
        ({"If-Unmodified-Since": "yesterday"}, 200),
        # If-None-Match (§13.1.2): weak comparison
        ({"If-None-Match": TAG}, 304),
        ({"If-None-Match": f"W/{TAG}"}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": "\t*"}, 304),
        ({"If-None-Match": OTHER}, 200),
        ({"If-None-Match": f"{OTHER}, {TAG}"}, 304),
        ({"If-None-Match": f"{OTHER},{TAG}"}, 304),
        ({"If-None-Match": f" ,, {OTHER}\t ,\tW/{TAG} ,"}, 304),
        ({"If-None-Match": f'"a,b", {TAG}'}, 304),
        ({"If-None-Match": f'"a, W/", {TAG}, ""'}, 304),
        ({"If-None-Match": f"garbage, {TAG}"}, 304),
        ({"If-None-Match": f'"unfinished, {TAG}'}, 304),
        ({"If-None-Match": f"{TAG[:-1]}"}, 200),
        ({"If-None-Match": BLOB}, 200),
        ({"If-None-Match": f"'{BLOB}'"}, 200),
        ({"If-None-Match": f'"{BLOB[:10]}"'}, 200),
        ({"If-None-Match": TAG.upper()}, 200),
        ({"If-None-Match": f'"x{TAG}'}, 200),
        ({"If-None-Match": ""}, 200),
        ({"If-None-Match": "\xff\x00"}, 200),
        # If-Modified-Since (§13.1.3)
        ({"If-Modified-Since": DATE}, 304),
        ({"If-Modified-Since": AFTER}, 304),
        ({"If-Modified-Since": BEFORE}, 200),
        ({"If-Modified-Since": FUTURE}, 200),
        ({"If-Modified-Since": "Sunday, 06-Nov-94 08:49:37 GMT"}, 304),
        ({"If-Modified-Since": "Sun Nov  6 08:49:37 1994"}, 304),
        ({"If-Modified-Since": "Sunday, 06-Nov-94 08:49:36 GMT"}, 200),
        ({"If-Modified-Since": "0"}, 200),
        ({"If-Modified-Since": f"{DATE}, {DATE}"}, 200),
        # Precedence (§13.2.2)
        ({"If-Match": TAG, "If-Unmodified-Since": BEFORE}, 200),
        ({"If-Match": OTHER, "If-Unmodified-Since": AFTER}, 412),
        ({"If-Match": "garbage", "If-Unmodified-Since": AFTER}, 412),
        ({"If-None-Match": OTHER, "If-Modified-Since": AFTER}, 200),
        ({"If-None-Match": "garbage", "If-Modified-Since": AFTER}, 200),
        ({"If-None-Match": TAG, "If-Modified-Since": BEFORE}, 304),
        ({"If-Match": TAG, "If-None-Match": TAG}, 304),
        ({"If-Match": OTHER, "If-None-Match": TAG}, 412),
        ({"If-Unmodified-Since": BEFORE, "If-None-Match": TAG}, 412),
        ({"If-Unmodified-Since": AFTER, "If-Modified-Since": AFTER}, 304),
        ({"If-None-Match": TAG, "Range": "bytes=0-9"}, 304),
        ({"If-Modified-Since": DATE, "Range": "bytes=0-9"}, 304),
        ({"If-None-Match": OTHER, "Range": "bytes=0-9"}, 206),
        ({"If-Match": OTHER, "Range": "bytes=0-9"}, 412),
        ({"If-None-Match": TAG, "Range": "bytes=99999-"}, 304),
    ],
)
@pytest.mark.parametrize("of", [PAGE, IMAGE], ids=["page", "image"])
def test_conditions_are_judged_in_the_order_of_the_rfc(fields: Fields, expected: int, of: Representation) -> None:
    assert ask(fields, of).status == expected
    if expected != 206:
        assert ask(fields, of, "HEAD").status == expected


@pytest.mark.parametrize(
    ("fields", "status", "tag"),
    [
        ({"Accept-Encoding": "br", "If-None-Match": BR}, 304, BR),
        ({"Accept-Encoding": "br", "If-None-Match": f"W/{BR}"}, 304, BR),
        ({"Accept-Encoding": "br, gzip", "If-None-Match": GZIP}, 304, GZIP),
        ({"Accept-Encoding": "br, gzip", "If-None-Match": f"{GZIP}, {BR}"}, 304, BR),
        ({"Accept-Encoding": "br", "If-None-Match": TAG}, 304, TAG),
        ({"Accept-Encoding": "br", "If-None-Match": "*"}, 304, BR),
        # No Accept-Encoding accepts every coding (§12.5.3).
        ({"If-None-Match": ZSTD}, 304, ZSTD),
        # A form that the client does not accept is none it could use.
        ({"Accept-Encoding": "gzip", "If-None-Match": BR}, 200, GZIP),
        ({"Accept-Encoding": "", "If-None-Match": BR}, 200, TAG),
        ({"Accept-Encoding": "br, identity;q=0", "If-None-Match": TAG}, 200, BR),
        ({"Accept-Encoding": "br", "If-Modified-Since": DATE}, 304, BR),
        ({"Accept-Encoding": "br, gzip", "If-Match": GZIP}, 200, GZIP),
        ({"Accept-Encoding": "br, gzip", "If-Match": TAG}, 200, TAG),
        ({"Accept-Encoding": "gzip", "If-Match": BR}, 412, None),
        ({"Accept-Encoding": "br, gzip", "If-Match": GZIP, "If-None-Match": GZIP}, 304, GZIP),
        ({"Accept-Encoding": "br, gzip", "If-Match": GZIP, "If-None-Match": BR}, 200, GZIP),
    ],
)
def test_a_form_that_the_client_names_and_accepts_is_the_one_spoken_about(
    fields: Fields, status: int, tag: str | None
) -> None:
    plan = ask(fields)
    assert (plan.status, header(plan, "ETag")) == (status, tag)


def test_a_304_tells_caches_what_get_would_and_describes_no_content() -> None:
    plan = ask({"Accept-Encoding": "br", "If-None-Match": BR})
    assert dict(plan.headers) == {
        b"ETag": BR.encode(),
        b"Cache-Control": b"public, max-age=0, must-revalidate",
        b"Vary": b"Accept-Encoding",
        b"Access-Control-Allow-Origin": b"*",
        b"X-Content-Type-Options": b"nosniff",
    }
    assert not plan.has_body


def test_a_failed_precondition_has_no_body_and_is_not_kept() -> None:
    plan = ask({"If-Match": OTHER})
    assert (header(plan, "Content-Length"), header(plan, "Cache-Control"), plan.has_body) == ("0", "no-store", False)


# ---------------------------------------------------------------- dates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", MODIFIED),
        ("Sunday, 06-Nov-94 08:49:37 GMT", MODIFIED),
        ("Sun Nov  6 08:49:37 1994", MODIFIED),
        (" Sun, 06 Nov 1994 08:49:37 GMT\t", MODIFIED),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
        ("Thu, 29 Feb 2024 12:00:00 GMT", 1709208000),
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1483228800),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799),
        ("Tue Jan 16 00:00:00 2024", 1705363200),
        ("Thu, 29 Feb 2023 12:00:00 GMT", None),
        ("Sun, 06 Nov 1994 24:00:00 GMT", None),
        ("Sun, 06 Nov 1994 08:60:00 GMT", None),
        ("Sun, 06 Nov 1994 08:49:61 GMT", None),
        ("Sun, 00 Nov 1994 08:49:37 GMT", None),
        ("Sat, 01 Jan 0000 00:00:00 GMT", None),
        ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 06 Nov 1994 08:49:37 +0000", None),
        ("Sun, 06 Nov 1994 08:49:37", None),
        ("06 Nov 1994 08:49:37 GMT", None),
        ("sun, 06 nov 1994 08:49:37 gmt", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT; length=1", None),
        ("1994-11-06T08:49:37Z", None),
        ("784111777", None),
        ("", None),
        ("\xb2\xb2", None),
    ],
)
def test_three_forms_of_date_are_read_and_nothing_else(text: str, expected: int | None) -> None:
    assert parse_http_date(text.encode("latin-1")) == expected


def test_a_year_of_two_digits_is_at_most_fifty_years_ahead() -> None:
    from datetime import date

    year = date.today().year
    for ahead, expected in ((50, year + 50), (51, year - 49), (0, year), (-1, year - 1)):
        digits = (year + ahead) % 100
        read = parse_http_date(b"Monday, 15-Jun-%02d 00:00:00 GMT" % digits)
        assert read is not None
        assert http_date(read)[12:16] == b"%d" % expected


@given(st.integers(0, 253402300799))
def test_dates_are_read_as_they_are_written(seconds: int) -> None:
    assert parse_http_date(http_date(seconds)) == seconds


# ---------------------------------------------------------------- ranges


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


# ---------------------------------------------------------------- other statuses and methods


@pytest.mark.parametrize("status", [404, 403, 410, 500])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Range": "bytes=0-9"},
        {"Range": "bytes=99999-"},
        {"If-None-Match": TAG},
        {"If-None-Match": "*"},
        {"If-Match": OTHER},
        {"If-Modified-Since": DATE},
        {"If-Unmodified-Since": BEFORE},
    ],
)
def test_a_page_sent_under_an_error_status_knows_no_conditions_and_no_ranges(status: int, fields: Fields) -> None:
    for method in ("GET", "HEAD"):
        plan = ask(fields, PAGE, method, status)
        assert (plan.status, plan.start, plan.end, plan.has_body) == (status, 0, 10000, method == "GET")
        assert header(plan, "Content-Length") == "10000"
        assert header(plan, "Cache-Control") == "no-store"
        assert header(plan, "Content-Type") == HTML
        assert header(plan, "Vary") == "Accept-Encoding"
        for absent in ("ETag", "Last-Modified", "Accept-Ranges"):
            assert header(plan, absent) is None


def test_a_page_sent_under_an_error_status_is_encoded() -> None:
    plan = ask({"Accept-Encoding": "gzip"}, status=404)
    assert (plan.status, header(plan, "Content-Encoding"), header(plan, "Content-Length")) == (404, "gzip", "4000")


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get", "", "G\xcbT"]
)
def test_methods_that_change_things_are_refused_with_those_that_are_not(method: str) -> None:
    plan = ask({"If-Match": OTHER, "Range": "bytes=0-1"}, method=method)
    assert (plan.status, header(plan, "Allow"), plan.has_body) == (405, "GET, HEAD, OPTIONS", False)
    assert header(plan, "Content-Length") == "0"


def test_options_says_what_is_allowed() -> None:
    plan = ask({}, method="OPTIONS")
    assert (plan.status, header(plan, "Allow"), plan.has_body) == (204, "GET, HEAD, OPTIONS", False)
    assert header(plan, "Content-Length") is None  # RFC 9110 §8.6: never with 204
    assert header(plan, "Access-Control-Allow-Methods") is None


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        (None, None),
        ("", None),
        ("range", "range"),
        ("Range, If-None-Match,X-Requested-With", "range, if-none-match, x-requested-with"),
        ("range,range", "range"),
        ("authorization", None),
        ("Authorization, X-Token, Cookie", "x-token"),
        ("x y, ok, <script>, \xff, a\r\nb", "ok"),
        (",".join(f"h{n}" for n in range(1000)), ", ".join(f"h{n}" for n in range(64))),
        ("a" * 10000, None),
    ],
)
def test_a_preflight_allows_what_was_asked_for_but_credentials(asked: str | None, allowed: str | None) -> None:
    fields = {b"origin": b"https://other.example", b"access-control-request-method": b"GET"}
    if asked is not None:
        fields[b"access-control-request-headers"] = asked.encode("latin-1")
    plan = preflight(fields.get)
    assert plan.status == 204
    assert header(plan, "Access-Control-Allow-Origin") == "*"
    assert header(plan, "Access-Control-Allow-Methods") == "GET, HEAD, OPTIONS"
    assert header(plan, "Access-Control-Allow-Headers") == allowed
    assert header(plan, "Access-Control-Max-Age") == "86400"


# ---------------------------------------------------------------- whatever a client sends

_TOKENS = ["bytes=", "-", "0", "9", ",", " ", "\t", '"', "W/", "*", ";q=", "gzip", "br", "identity", ".5", "GMT", "%"]
_NOISE = ["\x00", "\xff", "\r\n", "99999999999999999999"]
_PIECES = st.sampled_from([*_TOKENS, *_NOISE, BLOB, TAG, BR, GZIP, OTHER, DATE, BEFORE]).map(
    lambda s: s.encode("latin-1")
)
_VALUES = st.binary(max_size=40) | st.lists(_PIECES, max_size=12).map(b"".join)
_NAMES = [
    b"accept-encoding",
    b"if-match",
    b"if-none-match",
    b"if-modified-since",
    b"if-unmodified-since",
    b"if-range",
    b"range",
]
_FIELDS = st.dictionaries(st.sampled_from(_NAMES), _VALUES)
_METHODS = st.sampled_from(["GET", "GET", "GET", "HEAD", "OPTIONS", "POST"]) | st.text(max_size=8)
_SIZES = st.integers(0, 50) | st.integers(0, 1 << 40)


@st.composite
def _representations(draw: st.DrawFn) -> Representation:
    size = draw(_SIZES)
    encoded = tuple(
        Form(coding, draw(st.none() | _SIZES), draw(st.none() | st.just("f00d" * 10)))
        for coding in CODINGS
        if draw(st.booleans())
    )
    modified = draw(st.none() | st.integers(0, int(NOW) * 2) | st.just(MODIFIED))
    return Representation(HTML, size, draw(st.none() | st.just(BLOB)), modified, "no-cache", encoded)


@given(_METHODS, _FIELDS, _representations(), st.sampled_from([200, 200, 404]))
@example("GET", {b"if-none-match": b""}, replace(PAGE, tag=None), 200)
@example("GET", {b"range": b"bytes=0-" + b"9" * 100_000}, PAGE, 200)
def test_whatever_the_headers_hold_the_answer_is_whole_and_fits_the_file(
    method: str, fields: dict[bytes, bytes], of: Representation, status: int
) -> None:
    plan = negotiate(method, fields.get, of, NOW, status)
    length = header(plan, "Content-Length")
    if plan.form is None:
        assert plan.status in (204, 304, 405, 412, 416)
        assert length == (None if plan.status in (204, 304) else "0")
        assert (plan.start, plan.end, plan.has_body, plan.pending) == (0, 0, False, False)
    else:
        assert plan.status in ((200, 206) if status == 200 else (status,))
        assert plan.form.coding == IDENTITY or plan.form in of.encoded
        assert plan.pending == (plan.form.size is None)
        if plan.form.size is not None:
            assert 0 <= plan.start <= plan.end <= plan.form.size
            assert length == str(plan.end - plan.start)
        whole = (plan.start, plan.end) == (0, plan.form.size or 0)
        assert plan.status == 206 or whole
        assert (header(plan, "Content-Range") is not None) == (plan.status == 206)
        if plan.status == 206:
            assert plan.start < plan.end
    modified = parse_http_date((header(plan, "Last-Modified") or "").encode())
    assert modified is None or modified <= NOW
    for name, value in plan.headers:
        assert not set(b"\r\n\0") & set(name + value)


@given(_FIELDS)
def test_head_never_differs_from_get_but_for_ranges(fields: dict[bytes, bytes]) -> None:
    fields.pop(b"range", None)
    get, head = (negotiate(method, fields.get, PAGE, NOW) for method in ("GET", "HEAD"))
    assert (head.status, head.headers, head.form) == (get.status, get.headers, get.form)
    assert not head.has_body


@given(st.lists(st.tuples(st.sampled_from([*CODINGS, IDENTITY, "*", "deflate"]), st.integers(0, 1000))))
def test_no_other_form_sent_has_a_higher_weight(members: list[tuple[str, int]]) -> None:
    weights: dict[str, int] = {}
    for name, weight in members:
        weights.setdefault(name, weight)
    chosen = coding(ask({"Accept-Encoding": ", ".join(f"{name};q={weight / 1000:.3f}" for name, weight in members)}))
    default = weights.get("*", 0)
    if chosen == IDENTITY:
        own = weights.get(IDENTITY, default)
        assert all(weights.get(name, default) <= own for name in CODINGS)
    else:
        own = weights.get(chosen, default)
        assert own > 0
        assert all(weights.get(name, default) <= own for name in CODINGS)
        assert weights.get(IDENTITY, default if "*" in weights else 0) <= own


# ---------------------------------------------------------------- content codings

DECODERS = {
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompress(data),
    "gzip": gzip.decompress,
}
TEXT = " ".join(f"line {n}: the quick brown fox" for n in range(4000)).encode()


@pytest.mark.parametrize("name", CODINGS)
def test_encoding_shrinks_text_and_is_undone_by_decoding(name: str) -> None:
    encoded = encode(TEXT, name)
    assert encoded is not None
    assert len(encoded) < len(TEXT) / 4
    assert DECODERS[name](encoded) == TEXT
    assert encode(TEXT, name) == encoded


@pytest.mark.parametrize("name", CODINGS)
def test_what_does_not_shrink_is_not_encoded(name: str) -> None:
    assert encode(b"", name) is None
    assert encode(b"x", name) is None
    assert encode(random.Random(1).randbytes(10000), name) is None


@pytest.mark.parametrize("name", ["identity", "deflate", "", "BR"])
def test_an_unknown_coding_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="content coding"):
        encode(TEXT, name)


def test_gzip_says_nothing_of_the_time_or_the_machine() -> None:
    encoded = encode(TEXT, "gzip")
    assert encoded is not None
    assert encoded[:10] == bytes.fromhex("1f8b0800000000000003")


def test_the_window_of_zstd_is_one_that_browsers_take() -> None:
    # RFC 9659: no more than 8 MB.
    encoded = encode(TEXT * 200, "zstd")
    assert encoded is not None
    assert zstandard.get_frame_parameters(encoded).window_size <= 8 << 20


# ---------------------------------------------------------------- memory


def test_the_weight_is_no_less_than_the_memory_in_use() -> None:
    import tracemalloc

    for kind in (PAGE, IMAGE):
        tracemalloc.start()
        try:
            held = []
            for n in range(200):
                page = replace(kind, tag=f"{n:040x}", encoded=tuple(Form(*form) for form in kind.encoded))
                for value in ("", "br"):
                    ask({"Accept-Encoding": value}, page).lines  # noqa: B018  # it is kept
                held.append(page)
            used = tracemalloc.get_traced_memory()[0] / len(held)
        finally:
            tracemalloc.stop()
        assert used <= kind.weight <= used * 2
