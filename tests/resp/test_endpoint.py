# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Where a server is: the limits of every setting, and what each part of a URL means."""

import re
import ssl
from pathlib import Path
from typing import Any

import pytest

from resp import Endpoint as RealEndpoint
from resp import InvalidArgument, Retry
from resp.endpoint import hosts, parse_url, tls_context, unknown_option

Endpoint: Any = RealEndpoint
"""Without its types, which forbid what is tried here."""


@pytest.mark.parametrize(
    ("name", "least", "most", "below", "above"),
    [
        ("port", 1, 65535, 0, 65536),
        ("db", 0, 2**31 - 1, -1, 2**31),
        ("protocol", 2, 3, 1, 4),
        ("max_bulk", 1, 2**40, 0, 2**40 + 1),
        ("max_elements", 1, 2**40, 0, 2**40 + 1),
        ("timeout", 1e-9, 1e8 - 1, 0, 1e8),
        ("connect_timeout", 1e-9, 1e8 - 1, 0, 1e8),
    ],
)
def test_a_number_is_within_its_limits_and_no_bool(name: str, least: Any, most: Any, below: Any, above: Any) -> None:
    for good in (least, most):
        assert getattr(Endpoint(**{name: good}), name) == good
    wrong: list[Any] = [below, above, True, "1", None if name != "timeout" else []]
    for bad in wrong:
        with pytest.raises(InvalidArgument, match=f"{name} must be"):
            Endpoint(**{name: bad})
    if name.endswith("timeout"):
        assert Endpoint(timeout=None).timeout is None
    else:
        with pytest.raises(InvalidArgument, match=f"{name} must be an int from {least} to {most}"):
            Endpoint(**{name: 2.0})


@pytest.mark.parametrize("name", ["host", "unix_socket_path", "username", "password", "client_name"])
def test_a_text_has_no_nul_and_may_be_left_out_where_that_means_something(name: str) -> None:
    for bad in ("a\0b", b"a", 7):
        with pytest.raises(InvalidArgument, match=f"{name} must be a str"):
            Endpoint(**{name: bad})
    if name == "host":
        with pytest.raises(InvalidArgument, match="not NoneType"):
            Endpoint(**{name: None})
    else:
        assert getattr(Endpoint(**{name: None}), name) is None


def test_a_client_name_is_of_characters_that_client_list_can_show() -> None:
    assert Endpoint(client_name="!worker~7").client_name == "!worker~7"
    for bad in ("a b", "a\n", "ü", "\x7f", "\x1f"):
        with pytest.raises(InvalidArgument, match="printable"):
            Endpoint(client_name=bad)


def test_credentials_are_given_in_one_way_only() -> None:
    assert Endpoint(credentials=lambda: "x").credentials is not None
    for other in ({"username": "a"}, {"password": "b"}):
        with pytest.raises(InvalidArgument, match="either"):
            Endpoint(credentials=lambda: "x", **other)


@pytest.mark.parametrize(
    ("given", "name", "password"),
    [("x", None, "x"), (("x",), None, "x"), (("a", "x"), "a", "x"), (["a", "x"], "a", "x")],
)
def test_a_provider_says_who_is_introduced(given: Any, name: str | None, password: str) -> None:
    found = Endpoint(credentials=lambda: given, db=3).introduced()
    assert (found.username, found.password, found.credentials, found.db) == (name, password, None, 3)
    plain = Endpoint(password="x")
    assert plain.introduced() is plain


def test_an_endpoint_is_written_as_one_connects_to_it() -> None:
    assert str(Endpoint()) == "localhost:6379"
    assert str(Endpoint(host="::1", port=7)) == "[::1]:7"
    assert str(Endpoint(unix_socket_path="/run/a.sock")) == "/run/a.sock"


URLS: list[tuple[str, dict[str, Any]]] = [
    ("redis://", {"host": "localhost"}),
    ("valkey://h", {"host": "h"}),
    ("redis://h:7/3", {"host": "h", "port": 7, "db": 3}),
    ("redis://h/0", {"host": "h", "db": 0}),
    ("redis://h/", {"host": "h"}),
    ("redis://h/#", {"host": "h"}),
    ("redis://h/999999999", {"host": "h", "db": 999999999}),
    ("redis://h/3?db=4", {"host": "h", "db": 4}),
    ("rediss://h", {"host": "h", "ssl": True}),
    ("valkeys://h", {"host": "h", "ssl": True}),
    ("redis://[::1]:7", {"host": "::1", "port": 7}),
    ("redis://ann:p%40ss@h", {"host": "h", "username": "ann", "password": "p@ss"}),
    ("redis://:p@h", {"host": "h", "password": "p"}),
    ("redis://ann@h", {"host": "h", "username": "ann"}),
    ("redis://a%2Fb@h%2D1", {"host": "h-1", "username": "a/b"}),
    ("unix:///run/a.sock", {"unix_socket_path": "/run/a.sock"}),
    ("redis+unix:///run/a%20b.sock?db=2", {"unix_socket_path": "/run/a b.sock", "db": 2}),
    ("unix://ann:p@/run/a.sock", {"unix_socket_path": "/run/a.sock", "username": "ann", "password": "p"}),
    ("unix://run/a.sock", {"unix_socket_path": "run/a.sock"}),
    ("redis://h?timeout=none", {"host": "h", "timeout": None}),
    ("redis://h?timeout=", {"host": "h", "timeout": None}),
    ("redis://h?timeout=1.5&decode=yes&breaker=off", {"host": "h", "timeout": 1.5, "decode": True, "breaker": False}),
    (
        "redis://h?ssl_check_hostname=0&read_from=replica",
        {"host": "h", "ssl_check_hostname": False, "read_from": "replica"},
    ),
    ("redis+sentinel://a,b:7/main", {"sentinels": [("a", 26379), ("b", 7)], "sentinel_master": "main"}),
    (
        "rediss+sentinel://ann:p%40@a/ma%2Fin/3?sentinel_username=s",
        {
            "sentinels": [("a", 26379)],
            "sentinel_master": "ma/in",
            "db": 3,
            "ssl": True,
            "username": "ann",
            "password": "p@",
            "sentinel_username": "s",
        },
    ),
    ("valkey+cluster://a,[::1]:7", {"cluster": [("a", 6379), ("::1", 7)]}),
    ("valkeys+cluster://:p@a/2", {"cluster": [("a", 6379)], "db": 2, "ssl": True, "password": "p"}),
    ("redis+cluster://a/", {"cluster": [("a", 6379)]}),
]


@pytest.mark.parametrize(("url", "expected"), URLS, ids=[url for url, _ in URLS])
def test_a_url_is_the_keywords_of_a_client(url: str, expected: dict[str, Any]) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (b"redis://h", "must be a str"),
        ("http://h", "must begin with"),
        ("redis", "must begin with"),
        ("redis://h:x", "its port or its brackets"),
        ("redis://h:70000", "its port or its brackets"),
        ("redis://[::1", "its port or its brackets"),
        ("redis://h/0#a", "%23"),
        ("redis://h/a", "the path of a URL"),
        ("redis://h/1/2", "the path of a URL"),
        ("redis://h/-1", "the path of a URL"),
        ("redis://h/٣", "the path of a URL"),
        ("redis://h/1000000000", "the path of a URL"),
        ("unix://", "needs the path"),
        ("redis://h?db=x", "option db in a URL must be of type int"),
        ("redis://h?timeout=x", "must be of type float"),
        ("redis://h?decode=maybe", "must be of type bool"),
        ("redis+sentinel://a", "/MASTER"),
        ("redis+sentinel://a/m/1/2", "/MASTER"),
        ("redis+sentinel://a/m/x", "a database"),
        ("redis+sentinel://a/m/1#x", "%23"),
        ("redis+sentinel://[a/m", "its brackets"),
        ("redis+cluster://a/1/2", "at most"),
        ("redis+cluster://a/1000000000", "a database"),
        ("redis+cluster://a/٣", "a database"),
        ("redis+cluster://", "an address is"),
        ("redis+sentinel://a:x/m", "an address is"),
    ],
)
def test_a_url_that_means_nothing_is_refused_with_what_is_wrong(url: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(said)):
        parse_url(url)


def test_addresses_come_in_text_in_collections_and_in_pairs() -> None:
    assert hosts("a, b:7,[::1]:8", 5) == [("a", 5), ("b", 7), ("::1", 8)]
    assert hosts(["a", ("b", 7), ("c", "8")], 5) == [("a", 5), ("b", 7), ("c", 8)]  # type: ignore[list-item]  # taken too
    for bad in ("a/b", "u@a", "", "a,,b", "[a", "a:x"):
        with pytest.raises(InvalidArgument, match="an address is"):
            hosts(bad, 5)
    with pytest.raises(InvalidArgument, match="at least one"):
        hosts([], 5)


def test_an_option_that_nobody_knows_is_answered_with_the_nearest_and_cut_short() -> None:
    assert unknown_option("timeut") == "no option 'timeut': is 'timeout' meant?"
    assert unknown_option("q" * 50) == f"no option {'q' * 40!r}"
    assert unknown_option("socket_timeout") == "no option 'socket_timeout': it is called timeout here"


def test_what_is_no_certificate_is_said_with_the_option_that_names_it(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with pytest.raises(InvalidArgument, match="ssl_ca_certs cannot be used: No such file"):
        tls_context(ca_certs=str(tmp_path / "missing"))
    with pytest.raises(InvalidArgument, match="ssl_ca_certs cannot be used"):
        tls_context(ca_data="nonsense")
    with pytest.raises(InvalidArgument, match="ssl_certfile cannot be used"):
        tls_context(certfile=str(empty))
    with pytest.raises(InvalidArgument, match="ssl_cert_reqs is one of"):
        tls_context(cert_reqs="sometimes")
    assert tls_context(cert_reqs=ssl.CERT_OPTIONAL).verify_mode is ssl.CERT_OPTIONAL


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("attempts", [0, 7], [-1, True, 1.0, "1"]),
        ("first", [0, 0.5, 1e6], [-0.1, 1e6 + 1, True, "1"]),
        ("factor", [1, 1.5, 100], [0.99, 100.1, True, None]),
        ("most", [0, 1e6], [-0.1, 1e6 + 1, False, None]),
        ("jitter", [0, 0.3, 1], [-0.1, 1.1, True, "0"]),
    ],
)
def test_a_policy_of_retries_is_within_its_limits(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(Retry(**{name: value}), name) == value
    for value in bad:
        with pytest.raises(InvalidArgument, match=name if name != "attempts" else "retries"):
            Retry(**{name: value})


def test_pauses_of_retries_grow_to_the_longest_and_end_with_the_attempts() -> None:
    policy = Retry(attempts=5, first=1.0, factor=3.0, most=10.0, jitter=0.0)
    assert [policy.pause(tries) for tries in range(6)] == [1.0, 3.0, 9.0, 10.0, 10.0, None]
    assert Retry(attempts=10**6, first=1e-9, factor=100.0, most=1e6, jitter=0.0).pause(10**5) == 1e6
    assert Retry(attempts=0).pause(0) is None
    pauses = [Retry(first=8.0, most=8.0, jitter=0.25).pause(0) or 0.0 for _ in range(300)]
    assert 6.0 <= min(pauses) < 6.3
    assert 7.7 < max(pauses) <= 8.0


def test_what_is_not_said_is_as_the_guide_has_it() -> None:
    there = Endpoint()
    assert (there.host, there.port, there.db, there.protocol) == ("localhost", 6379, 0, 3)
    assert (there.connect_timeout, there.timeout) == (2.0, 5.0)
    assert (there.max_bulk, there.max_elements) == (512 * 1024 * 1024, 2**25)
    policy = Retry()
    assert (policy.attempts, policy.first, policy.factor, policy.most, policy.jitter) == (3, 0.02, 2.0, 1.0, 0.5)
