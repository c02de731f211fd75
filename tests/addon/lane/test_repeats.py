# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is answered again, on which connections, and how much of it is kept."""

from pathlib import Path

import pytest

from addon.lane.repeats import Known, Repeats
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


def asked(repeats: Repeats, known: Known, host: str, data: bytes = b"GET", size: int = 10) -> bool:
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
    repeats = Repeats(1 << 20)
    kinds = [(False, None), (True, None), (True, shown[0]), (True, shown[1])]
    for kind in kinds:
        known = repeats.known(*kind)
        assert known is repeats.known(*kind)
        assert b"GET" not in known.http1
        assert asked(repeats, known, OTHER if kind[1] is shown[1] else OWN)


def test_a_host_of_another_certificate_is_known_to_none_of_its_connections(shown: list[ShownNames]) -> None:
    repeats = Repeats(1 << 20)
    known = repeats.known(True, shown[0])
    assert not asked(repeats, known, OTHER)
    assert asked(repeats, known, OWN)
    assert asked(repeats, known, "nobody.test", b"of no certificate")


def test_what_is_known_goes_with_its_certificates(shown: list[ShownNames]) -> None:
    repeats = Repeats(1 << 20)
    passing = ShownNames(shown[0]._own, {})
    assert asked(repeats, repeats.known(True, passing), OWN)
    del passing
    assert not repeats._by_shown


def test_all_of_it_is_bounded(shown: list[ShownNames]) -> None:
    repeats = Repeats(100_000)
    kinds = [repeats.known(False, None), repeats.known(True, None), repeats.known(True, shown[0])]
    for number in range(100):
        assert asked(repeats, kinds[number % 3], OWN, b"%d" % number, 2_000)
        assert sum(len(each.http1) for each in kinds) <= 22
    assert not asked(repeats, kinds[0], OWN, b"large", 64_000)
