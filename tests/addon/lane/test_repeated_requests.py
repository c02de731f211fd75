# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is answered again, on which connections, and how much of it is kept."""

from pathlib import Path

import pytest

from addon.lane.http2.answers import Http2Repeat
from addon.lane.http2.heads import Commons, Head
from addon.lane.repeated_requests import KnownRequests, RepeatedRequests
from addon.net.certificates import Certificates, ShownNames
from addon.web.prepared_answers import NOTHING, Basis, PreparedAnswer, Tally
from addon.web.request_head import Fields, RequestLine, derived
from tests.addon.net.tls_wire import make_pair

OWN, OTHER = "a.test", "b.test"


def fields(host: str) -> Fields:
    return derived(host.encode(), {b"host": host.encode()})


def prepared(size: int = 10) -> PreparedAnswer:
    line = RequestLine("GET", "/", None, True)
    return PreparedAnswer(b"", bytes(size), Basis((), 1.0), line, 200, size, "HIT", NOTHING, Tally())


def asked(repeats: RepeatedRequests, known: KnownRequests, host: str, data: bytes = b"GET", size: int = 10) -> bool:
    """Whether a request is known once it was answered."""
    repeats.remember(known, data, (b"", b""), prepared(size), fields(host))
    return data in known.http1


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[ShownNames]:
    """What the connections have been shown that asked for OWN and for OTHER."""
    folder: Path = tmp_path_factory.mktemp("tls")
    certificates = Certificates([make_pair(folder, name, name) for name in (OWN, OTHER)], http2=True)
    return [certificates._shown[context] for name in (OWN, OTHER) if (context := certificates.chosen(name)) is not None]


def test_each_kind_of_connection_knows_its_own(shown: list[ShownNames]) -> None:
    repeats = RepeatedRequests(1 << 20)
    kinds = [(False, None), (True, None), (True, shown[0]), (True, shown[1])]
    for kind in kinds:
        known = repeats.known(*kind)
        assert known is repeats.known(*kind)
        assert b"GET" not in known.http1
        assert asked(repeats, known, OTHER if kind[1] is shown[1] else OWN)


def test_a_host_of_another_certificate_is_known_to_none_of_its_connections(shown: list[ShownNames]) -> None:
    repeats = RepeatedRequests(1 << 20)
    known = repeats.known(True, shown[0])
    assert not asked(repeats, known, OTHER)
    assert asked(repeats, known, OWN)
    assert asked(repeats, known, "nobody.test", b"of no certificate")


def test_what_is_known_goes_with_its_certificates(shown: list[ShownNames]) -> None:
    repeats = RepeatedRequests(1 << 20)
    passing = ShownNames(shown[0]._own, {})
    assert asked(repeats, repeats.known(True, passing), OWN)
    del passing
    assert not repeats._by_shown


def test_all_of_it_is_bounded(shown: list[ShownNames]) -> None:
    repeats = RepeatedRequests(100_000)
    kinds = [repeats.known(False, None), repeats.known(True, None), repeats.known(True, shown[0])]
    for number in range(100):
        assert asked(repeats, kinds[number % 3], OWN, b"%d" % number, 2_000)
        assert sum(len(each.http1) for each in kinds) <= 22
    assert not asked(repeats, kinds[0], OWN, b"large", 64_000)


@pytest.mark.parametrize(("size", "data", "kept"), [(31_000, 1_518, True), (31_000, 1_519, False), (0, 32_518, True)])
def test_what_is_known_costs_twice_its_bytes_and_500_and_at_most_64_kib(size: int, data: int, kept: bool) -> None:
    repeats = RepeatedRequests(1 << 20)
    known = repeats.known(False, None)
    assert asked(repeats, known, OWN, b"x" * data, size) is kept
    assert repeats._used == (2 * size + 2 * data + 500 if kept else 0)


def test_all_is_forgotten_when_one_more_has_no_room_and_that_one_is_known() -> None:
    repeats = RepeatedRequests(3 * (500 + 2 * 1 + 2 * 10))
    known, other = repeats.known(False, None), repeats.known(True, None)
    assert asked(repeats, known, OWN, b"1")
    assert asked(repeats, known, OWN, b"2")
    assert asked(repeats, other, OWN, b"3")
    assert [*known.http1, *other.http1] == [b"1", b"2", b"3"]
    assert asked(repeats, known, OWN, b"4")
    assert [*known.http1, *other.http1] == [b"4"]
    assert repeats._used == 522


def test_a_head_of_http2_counts_with_its_block_and_long_fields_are_not_known(shown: list[ShownNames]) -> None:
    repeats = RepeatedRequests(1 << 20)
    known = repeats.known(True, None)
    commons = Commons()

    def head(size: int) -> Head:
        pseudo = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", OWN.encode()), (b":path", b"/a")]
        return commons.head([*pseudo, (b"x", b"v" * size)])

    for extra, kept in ((4_096, True), (4_097, False)):
        found = head(extra - sum(map(len, (b":method", b"GET", b":scheme", b"https", b":authority", b"a.test", b"x"))))
        assert found.common.nbytes == extra
        before = repeats._used
        repeat = Http2Repeat((b"", b""), prepared(), found.common.fields, Tally())
        repeats.remember_http2(known, found, repeat)
        assert (found in known.http2) is kept
        assert repeats._used - before == (2 + extra + repeat.cost + 500 if kept else 0)
    of_other = repeats.known(True, shown[1])
    found = head(10)
    repeats.remember_http2(of_other, found, Http2Repeat((b"", b""), prepared(), found.common.fields, Tally()))
    assert of_other.http2 == {}  # it is of another certificate
