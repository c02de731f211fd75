# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How a connection introduces itself, batch by batch without a socket; and which error reply is which error."""

from typing import Any

import pytest

from resp import AuthenticationError, Endpoint, NoPermission, ProtocolError, ServerError, Timeout
from resp.errors import (
    Ask,
    ClusterDown,
    CrossSlot,
    ExecAborted,
    Loading,
    Moved,
    NoProtocol,
    NoScript,
    OutOfMemory,
    ReadOnly,
    Redirected,
    TemporaryError,
    TooManyClients,
    TryAgain,
    WrongType,
    server_error,
)
from resp.handshake import Introduction, check, handshake, redacted

LIBRARY = ["CLIENT SETINFO LIB-NAME resp", "CLIENT SETINFO LIB-VER 1"]
HELLO = {b"server": b"x", b"id": 7}
UNKNOWN = ServerError("ERR", "unknown command")


def introduced(endpoint: Endpoint, *answers: list[Any], plain: bool = False) -> tuple[list[list[str]], Introduction]:
    """What is sent, batch by batch, and what comes of these answers."""
    steps = handshake(endpoint, plain=plain)
    sent = [_words(next(steps))]
    for answer in answers:
        try:
            sent.append(_words(steps.send(answer)))
        except StopIteration as end:
            return sent, end.value
    raise AssertionError("it wants more answers")


def _words(batch: list[tuple[Any, ...]]) -> list[str]:
    return [" ".join(map(str, command)) for command in batch]


@pytest.mark.parametrize(
    ("options", "answers", "sent", "protocol"),
    [
        ({}, [[HELLO, b"OK", b"OK"]], [["HELLO 3", *LIBRARY]], 3),
        ({"db": 5}, [[HELLO, b"OK", b"OK", b"OK"]], [["HELLO 3", *LIBRARY, "SELECT 5"]], 3),
        ({"password": "x"}, [[HELLO, b"OK", b"OK"]], [["HELLO 3 AUTH default x", *LIBRARY]], 3),
        ({"username": "a"}, [[HELLO, b"OK", b"OK"]], [["HELLO 3 AUTH a ", *LIBRARY]], 3),
        (
            {"username": "a", "password": "x", "client_name": "me"},
            [[HELLO, UNKNOWN, UNKNOWN]],
            [["HELLO 3 AUTH a x SETNAME me", *LIBRARY]],
            3,
        ),
        ({}, [[UNKNOWN, UNKNOWN, UNKNOWN]], [["HELLO 3", *LIBRARY]], 2),
        (
            {"username": "a", "password": "x", "client_name": "me", "db": 5},
            [[UNKNOWN] * 4, [b"OK", b"OK", b"OK"]],
            [["HELLO 3 AUTH a x SETNAME me", *LIBRARY, "SELECT 5"], ["AUTH a x", "CLIENT SETNAME me", "SELECT 5"]],
            2,
        ),
        ({"password": "x"}, [[UNKNOWN] * 3, [b"OK"]], [["HELLO 3 AUTH default x", *LIBRARY], ["AUTH x"]], 2),
        ({"protocol": 2}, [[UNKNOWN, b"OK"]], [LIBRARY], 2),
        ({"protocol": 2, "password": "x", "db": 5}, [[b"OK"] * 4], [["AUTH x", "SELECT 5", *LIBRARY]], 2),
    ],
)
def test_what_is_sent_and_which_protocol_comes_of_it(
    options: dict[str, Any], answers: list[list[Any]], sent: list[list[str]], protocol: int
) -> None:
    found, outcome = introduced(Endpoint(**options), *answers)
    assert found == sent
    assert outcome == (Introduction(3, HELLO, 7) if protocol == 3 else Introduction(2, {}, None))


def test_behind_a_proxy_only_what_all_of_them_know_is_sent() -> None:
    endpoint = Endpoint(username="a", password="x", client_name="me", db=5)
    assert introduced(endpoint, [b"OK", b"OK", b"PONG"], plain=True) == (
        [["AUTH a x", "SELECT 5", "PING"]],
        Introduction(2, {}, None),
    )
    assert introduced(Endpoint(), [b"PONG"], plain=True)[0] == [["PING"]]


@pytest.mark.parametrize("number", [b"7", None, 7.0])
def test_a_number_of_the_connection_that_is_none_is_unknown(number: Any) -> None:
    assert introduced(Endpoint(), [{b"id": number}, b"OK", b"OK"])[1].client_id is None


@pytest.mark.parametrize(
    ("options", "plain", "answers", "error"),
    [
        ({}, False, [[b"OK", b"OK", b"OK"]], ProtocolError),
        ({}, False, [[AuthenticationError("NOAUTH", "x"), UNKNOWN, UNKNOWN]], AuthenticationError),
        ({}, False, [[Loading("LOADING", "x"), UNKNOWN, UNKNOWN]], Loading),
        ({"db": 5}, False, [[HELLO, b"OK", b"OK", UNKNOWN]], ServerError),
        ({"password": "x"}, False, [[UNKNOWN] * 3, [AuthenticationError("ERR", "x")]], AuthenticationError),
        ({"protocol": 2, "db": 5}, False, [[UNKNOWN, b"OK", b"OK"]], ServerError),
        ({"protocol": 2}, False, [[b"OK", AuthenticationError("NOAUTH", "x")]], AuthenticationError),
        ({}, True, [[AuthenticationError("NOAUTH", "x")]], AuthenticationError),
    ],
)
def test_what_is_refused_is_raised(
    options: dict[str, Any], plain: bool, answers: list[list[Any]], error: type[Exception]
) -> None:
    with pytest.raises(error):
        introduced(Endpoint(**options), *answers, plain=plain)


def test_the_first_of_several_errors_is_raised() -> None:
    check([b"OK", None, 7])
    with pytest.raises(WrongType):
        check([b"OK", WrongType("WRONGTYPE", "x"), UNKNOWN])


def test_nothing_of_the_credentials_is_in_an_error() -> None:
    endpoint = Endpoint(username="ann", password="sesame")
    error = redacted(NoPermission("NOPERM", "ann may not, with args beginning with: 'sesame'"), endpoint)
    assert (type(error), str(error)) == (NoPermission, "NOPERM … may not")
    assert str(redacted(ServerError("ERR", "sesame of ann"), endpoint)) == "ERR … of …"
    assert str(redacted(ServerError("ERR", "plain"), Endpoint(password=""))) == "ERR plain"


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "kind", "code", "message"),
    [
        (b"ERR no", ServerError, "ERR", "no"),
        (b"MINE no", ServerError, "MINE", "no"),
        (b"MINE", ServerError, "MINE", ""),
        (b"", ServerError, "ERR", ""),
        (b"lower case", ServerError, "ERR", "lower case"),
        (b"Mixed case", ServerError, "ERR", "Mixed case"),
        (b"ERR \xff", ServerError, "ERR", "\ufffd"),
        (b"ERR MOVED 7 h:1", Moved, "MOVED", "7 h:1"),
        (b"ERR UNKNOWN 7", ServerError, "ERR", "UNKNOWN 7"),
        (b"ERR invalid password", AuthenticationError, "ERR", "invalid password"),
        (b"ERR AUTH <password> called", AuthenticationError, "ERR", "AUTH <password> called"),
        (b"ERR Client sent AUTH", AuthenticationError, "ERR", "Client sent AUTH"),
        (b"ERR operation not permitted", AuthenticationError, "ERR", "operation not permitted"),
        (b"ERR max number of clients reached", TooManyClients, "ERR", "max number of clients reached"),
        (b"ERR an invalid password", ServerError, "ERR", "an invalid password"),
        (b"NOAUTH x", AuthenticationError, "NOAUTH", "x"),
        (b"WRONGPASS x", AuthenticationError, "WRONGPASS", "x"),
        (b"DENIED x", AuthenticationError, "DENIED", "x"),
        (b"INPROG x", TemporaryError, "INPROG", "x"),
        (b"CLUSTERDOWN x", ClusterDown, "CLUSTERDOWN", "x"),
        (b"TRYAGAIN x", TryAgain, "TRYAGAIN", "x"),
        (b"READONLY x", ReadOnly, "READONLY", "x"),
        (b"OOM x", OutOfMemory, "OOM", "x"),
        (b"CROSSSLOT x", CrossSlot, "CROSSSLOT", "x"),
        (b"EXECABORT x", ExecAborted, "EXECABORT", "x"),
        (b"NOSCRIPT x", NoScript, "NOSCRIPT", "x"),
        (b"NOPROTO x", NoProtocol, "NOPROTO", "x"),
    ],
)
def test_an_error_is_of_the_type_that_its_first_word_says(
    line: bytes, kind: type[ServerError], code: str, message: str
) -> None:
    error = server_error(line)
    assert type(error) is kind
    assert (error.code, error.message, error.command, error.place) == (code, message, None, None)


@pytest.mark.parametrize(
    ("message", "slot", "host", "port"),
    [
        ("7 h:1", 7, "h", 1),
        ("16383 ::1:65535", 16383, "::1", 65535),
        ("7 :6379", 7, "", 6379),
        ("12345 h:12345", 12345, "h", 12345),
        ("123456 h:123456", -1, "h", 0),
        ("-1 h:-1", -1, "h", 0),
        ("٣ h:٣", -1, "h", 0),
        ("nonsense", -1, "", 0),
        ("", -1, "", 0),
    ],
)
def test_a_redirection_says_where_to_go(message: str, slot: int, host: str, port: int) -> None:
    for kind in (Moved, Ask):
        error = kind(kind.__name__.upper(), message)
        assert (error.slot, error.host, error.port) == (slot, host, port)
    plain = Redirected("REDIRECT", message)
    assert (plain.host, plain.port) == (host, port)


def test_an_error_is_written_with_what_is_known_of_its_command() -> None:
    error = ServerError("ERR", "no")
    assert str(error) == "ERR no"
    assert (str(ServerError("MINE")), str(ServerError())) == ("MINE", "ERR")
    error.command, error.place = "GET", 0
    assert str(error) == "ERR no (command 1 of the pipeline: GET)"
    forbidden = NoPermission("NOPERM", "no")
    assert str(forbidden) == "NOPERM no"
    forbidden.command = "GET"
    assert str(forbidden) == "NOPERM no (GET)"
    forbidden.place = 2
    assert str(forbidden) == "NOPERM no (command 3 of the pipeline: GET)"


def test_a_timeout_says_what_passed() -> None:
    assert str(Timeout()) == "the deadline passed"
    assert Timeout().maybe_executed
    assert not Timeout("x", maybe_executed=False).maybe_executed
