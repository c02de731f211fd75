# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a site has registered, as JSON that people read and other versions leave alone."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.shared.domain_records import Claim, SiteDomains, read_record, record_of
from addon.shared.records import Broken, Foreign

DOMAINS = SiteDomains(
    "Alice",
    "Blog",
    7,
    (
        Claim("blog.example.org", None, 1_700_000_000.0, "TXT", 1_700_000_100.0, 1_700_000_200.0),
        Claim("feature-x.blog.example.org", "feature/x", 1_700_000_000.0),
    ),
    1_700_000_300.0,
)


def test_a_record_says_all_and_is_readable() -> None:
    data = record_of(DOMAINS)
    assert read_record(data) == DOMAINS
    assert json.loads(data) == {
        "v": 1,
        "owner": "Alice",
        "repository": "Blog",
        "id": 7,
        "hosts": {
            "blog.example.org": {
                "since": 1_700_000_000,
                "proven": "TXT",
                "checked": 1_700_000_100,
                "lost": 1_700_000_200,
            },
            "feature-x.blog.example.org": {"branch": "feature/x", "since": 1_700_000_000},
        },
        "gone": 1_700_000_300,
    }


def test_fields_that_we_do_not_know_are_left_out() -> None:
    document = json.loads(record_of(DOMAINS)) | {"more": [1]}
    document["hosts"]["blog.example.org"]["more"] = {}
    assert read_record(json.dumps(document).encode()) == DOMAINS


def _with(**fields: object) -> bytes:
    return json.dumps({"v": 1, "owner": "a", "repository": "b", "id": 1, "hosts": {}} | fields).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"blog.example.org",
        b"[]",
        b"{}",
        b"[" * 100_000,
        _with(v="1"),
        _with(owner="../x"),
        _with(owner=None),
        _with(repository="x/y"),
        _with(id="7"),
        _with(id=-1),
        _with(hosts=[]),
        _with(hosts={"x.example": None}),
        _with(hosts={"": {}}),
        _with(hosts={"x.example": {"branch": "a b"}}),
        _with(hosts={"x.example": {"branch": 1}}),
        _with(hosts={"x.example": {"since": "now"}}),
        _with(hosts={"x.example": {"proven": 1}}),
        _with(gone=-1),
        _with(gone=True),
        _with(gone=1e300),
    ],
)
def test_what_cannot_be_ours_is_broken(data: bytes) -> None:
    with pytest.raises(Broken):
        read_record(data)


def test_what_another_version_wrote_is_foreign() -> None:
    with pytest.raises(Foreign):
        read_record(_with(v=2))


@given(
    st.binary(max_size=100)
    | st.dictionaries(st.text(max_size=8), st.integers()).map(lambda it: json.dumps(it).encode())
)
def test_anything_is_a_record_or_broken_or_foreign(data: bytes) -> None:
    with contextlib.suppress(Broken, Foreign):
        assert isinstance(read_record(data), SiteDomains)
