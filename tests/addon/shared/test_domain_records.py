# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a site has registered, as JSON that people read and other versions leave alone."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.shared.domain_mappings import Mapping
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
        # beyond the limits
        _with(hosts={f"{number}.example": {} for number in range(2_001)}),
        _with(hosts={"a" * 254: {}}),
        _with(hosts={"x.example": {"checked": -0.5}}),
        _with(hosts={"x.example": {"lost": 2.0**53}}),
        _with(hosts={"x.example": {"lost": True}}),
        _with(id=2**63),
        _with(id=True),
        _with(owner=1),
        _with(repository=1),
        _with(repository=None),
        _with(v=None),
        _with(v=1.5),
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


def test_what_a_record_does_not_say_is_nothing() -> None:
    found = read_record(_with(hosts={"x.example": {}}))
    assert found == SiteDomains("a", "b", 1, (Claim("x.example"),))
    assert found.claims == (Claim("x.example", None, 0.0, "", 0.0, None),)
    assert found.gone is None
    assert SiteDomains("a", "b").id == 0
    assert json.loads(record_of(found))["hosts"] == {"x.example": {"since": 0}}


def test_what_ours_can_say_at_its_limits_is_read() -> None:
    claims: dict[str, object] = {f"{number}.example": {} for number in range(2_000)}
    assert len(read_record(_with(hosts=claims)).claims) == 2_000
    longest = "a" * 253
    assert read_record(_with(hosts={longest: {}})).claim(longest) is not None
    for number in (0, 2**63 - 1):
        assert read_record(_with(id=number)).id == number
    for moment in (0, 0.5, 2.0**53 - 1):
        found = read_record(_with(gone=moment, hosts={"x.example": {"since": moment, "lost": moment}}))
        assert (found.gone, found.claims[0].since, found.claims[0].lost) == (moment, moment, moment)


def test_a_claim_is_found_by_its_host_and_says_what_its_key_does() -> None:
    branch = DOMAINS.claim("feature-x.blog.example.org")
    assert branch is DOMAINS.claims[1]
    assert DOMAINS.claim("other.example") is None
    assert DOMAINS.mapping(branch) == Mapping("Alice", "Blog", "feature/x")
    assert DOMAINS.mapping(DOMAINS.claims[0]) == Mapping("Alice", "Blog")


def test_moments_are_whole_seconds_and_names_are_as_people_write_them() -> None:
    written = json.loads(
        record_of(SiteDomains("Alice", "Büro", 7, (Claim("x.example", None, 1.6, "", 0.4, 2.6),), 3.4))
    )
    assert written["hosts"] == {"x.example": {"since": 2, "lost": 3}}
    assert (written["gone"], "Büro".encode() in record_of(SiteDomains("Alice", "Büro"))) == (3, True)
