# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""Negotiation against the text of RFC 9110: which status, which headers, which bytes."""

import tracemalloc
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from addon.web.codings import CODINGS, IDENTITY
from addon.web.http_dates import http_date, parse_http_date
from addon.web.negotiation import negotiate, preflight
from addon.web.representation import Form, Representation
from tests.addon.web.negotiation_cases import (
    AFTER,
    BEFORE,
    BLOB,
    BR,
    DATE,
    FUTURE,
    GZIP,
    HTML,
    IMAGE,
    MODIFIED,
    NOW,
    OTHER,
    PAGE,
    TAG,
    ZSTD,
    Fields,
    ask,
    header,
)
from tests.cases import by_first

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


# ---------------------------------------------------------------- conditions


CONDITIONS = {
    # If-Match (§13.1.1): strong comparison
    "If-Match": {
        TAG: 200,
        "*": 200,
        " * ": 200,
        OTHER: 412,
        f"{OTHER}, {TAG}": 200,
        f"W/{TAG}": 412,
        f"w/{TAG}": 412,
        "garbage": 412,
        BLOB: 412,
        "": 412,
    },
    # If-Unmodified-Since (§13.1.4)
    "If-Unmodified-Since": {
        DATE: 200,
        AFTER: 200,
        BEFORE: 412,
        FUTURE: 200,
        "yesterday": 200,
    },
    # If-None-Match (§13.1.2): weak comparison
    "If-None-Match": {
        TAG: 304,
        f"W/{TAG}": 304,
        "*": 304,
        "\t*": 304,
        OTHER: 200,
        f"{OTHER}, {TAG}": 304,
        f"{OTHER},{TAG}": 304,
        f" ,, {OTHER}\t ,\tW/{TAG} ,": 304,
        f'"a,b", {TAG}': 304,
        f'"a, W/", {TAG}, ""': 304,
        f"garbage, {TAG}": 304,
        f'"unfinished, {TAG}': 304,
        f"{TAG[:-1]}": 200,
        BLOB: 200,
        f"'{BLOB}'": 200,
        f'"{BLOB[:10]}"': 200,
        TAG.upper(): 200,
        f'"x{TAG}': 200,
        "": 200,
        "\xff\x00": 200,
    },
    # If-Modified-Since (§13.1.3)
    "If-Modified-Since": {
        DATE: 304,
        AFTER: 304,
        BEFORE: 200,
        FUTURE: 200,
        "Sunday, 06-Nov-94 08:49:37 GMT": 304,
        "Sun Nov  6 08:49:37 1994": 304,
        "Sunday, 06-Nov-94 08:49:36 GMT": 200,
        "0": 200,
        f"{DATE}, {DATE}": 200,
    },
}
"""Statuses of requests with one condition."""


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        *(({name: value}, expected) for name, value, expected in by_first(CONDITIONS)),
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
    year = date.today().year
    for ahead, expected in ((50, year + 50), (51, year - 49), (0, year), (-1, year - 1)):
        digits = (year + ahead) % 100
        read = parse_http_date(b"Monday, 15-Jun-%02d 00:00:00 GMT" % digits)
        assert read is not None
        assert http_date(read)[12:16] == b"%d" % expected


@given(st.integers(0, 253402300799))
def test_dates_are_read_as_they_are_written(seconds: int) -> None:
    assert parse_http_date(http_date(seconds)) == seconds


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


# ---------------------------------------------------------------- memory


def test_the_weight_is_no_less_than_the_memory_in_use() -> None:
    for kind in (PAGE, IMAGE):
        for value in ("", "br"):  # what is remembered once for all is not the page's
            ask({"Accept-Encoding": value}, replace(kind, tag="f" * 40)).lines  # noqa: B018
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
