# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`Subscriber` alone, byte by byte: what it says, and what it makes of all that a server may say, in whatever order."""

import time
from typing import Any

import pytest

from resp import AuthenticationError, Connection, ConnectionLost, Loading, NoPermission, RespError, ServerError
from resp.errors import Moved
from resp.subscriber import Message, Subscriber
from tests.resp.scripted import Exchange, joined


class Bench:
    """A subscriber, what it hands out, and the servers' ends of its connections."""

    def __init__(self, *refusals: RespError, protocol: int = 3) -> None:
        self.refusals = list(refusals)
        self.protocol = protocol
        self.peers: list[Exchange] = []
        self.heard: list[Any] = []
        self.subscriber = Subscriber(self._connect, self.heard.append, retry_first=8.0, retry_most=64.0)

    def _connect(self) -> Connection:
        if self.refusals:
            raise self.refusals.pop(0)
        connection, peer = joined(protocol=self.protocol)
        self.peers.append(peer)
        return connection

    def said(self) -> list[bytes]:
        """The commands that arrived at the last server since the last time, in words."""
        return [b" ".join(command) for command in self.peers[-1].arrived()]

    def tell(self, *items: bytes) -> list[Any]:
        """Let the server say this; what is handed out."""
        self.peers[-1].send(b"".join(items))
        self.heard.clear()
        self.subscriber.fetch()
        return list(self.heard)

    @property
    def pause(self) -> float:
        """Seconds until the next attempt to connect."""
        return self.subscriber.next_attempt - time.monotonic()


def push(*words: bytes | int | None, kind: bytes = b">") -> bytes:
    said = [b":%d\r\n" % word if isinstance(word, int) else _bulk(word) for word in words]
    return b"%b%d\r\n" % (kind, len(said)) + b"".join(said)


def _bulk(word: bytes | None) -> bytes:
    return b"$-1\r\n" if word is None else b"$%d\r\n%b\r\n" % (len(word), word)


def message(kind: str, channel: bytes | None, data: Any, pattern: bytes | None = None) -> Message:
    return Message(type=kind, pattern=pattern, channel=channel, data=data)


# ---- what it says ----------------------------------------------------------------------------------------------------


def test_what_is_wanted_is_said_in_one_command_of_each_kind_but_sharded_channels_one_by_one() -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a", b"b"])
    bench.subscriber.subscribe("p", [b"c*", b"d*"])
    bench.subscriber.subscribe("s", [b"e", b"f"])
    assert bench.said() == [b"SUBSCRIBE a b", b"PSUBSCRIBE c* d*", b"SSUBSCRIBE e", b"SSUBSCRIBE f"]
    assert len(bench.peers) == 1
    bench.subscriber.unsubscribe("", [b"b"])
    bench.subscriber.unsubscribe("p", [b"c*", b"d*"])
    bench.subscriber.unsubscribe("s", [b"e", b"f"])
    assert bench.said() == [b"UNSUBSCRIBE b", b"PUNSUBSCRIBE c* d*", b"SUNSUBSCRIBE e", b"SUNSUBSCRIBE f"]
    assert bench.subscriber.wanted == {"": {b"a": None}, "p": {}, "s": {}}


def test_only_what_was_wanted_is_left_and_each_once() -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a", b"b"])
    bench.said()
    bench.subscriber.unsubscribe("", [b"x"])
    assert bench.said() == []
    bench.subscriber.unsubscribe("", [b"a", b"x", b"a"])
    assert bench.said() == [b"UNSUBSCRIBE a"]


def test_all_that_is_wanted_is_said_on_a_new_connection_and_then_the_gap_is_told() -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a", b"b"])
    bench.subscriber.subscribe("s", [b"e"])
    bench.subscriber.unsubscribe("", [b"b"])
    bench.subscriber.lose(ConnectionLost("first"))
    assert not bench.subscriber.unconfirmed
    bench.subscriber.lose(ConnectionLost("second"))
    bench.subscriber.reconnect()
    assert bench.said() == [b"SUBSCRIBE a", b"SSUBSCRIBE e"]
    assert bench.heard == [message("gap", None, "first")]
    assert bench.subscriber.line is not None
    bench.subscriber.lose(ConnectionLost("third"))
    bench.subscriber.reconnect()
    assert bench.heard[1:] == [message("gap", None, "third")]


def test_who_wants_nothing_missed_nothing() -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a"])
    bench.subscriber.unsubscribe("", [b"a"])
    bench.subscriber.lose(ConnectionLost("gone"))
    assert not bench.subscriber.needed
    bench.subscriber.fetch()
    assert len(bench.peers) == 1
    bench.subscriber.subscribe("", [b"a"])
    assert bench.said() == [b"SUBSCRIBE a"]
    assert bench.heard == []


def test_nothing_more_is_said_on_a_connection_that_broke_while_something_was_said() -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a"])
    line = bench.subscriber.line
    bench.peers[0].sock.close()
    bench.subscriber.subscribe("s", [b"e", b"f"])
    assert bench.subscriber.line is None
    assert line is not None
    assert line.fileno() == -1
    assert isinstance(bench.subscriber.last_error, ConnectionLost)
    assert not bench.subscriber.unconfirmed
    bench.subscriber.reconnect()
    assert bench.said() == [b"SUBSCRIBE a", b"SSUBSCRIBE e", b"SSUBSCRIBE f"]


def test_closing_closes_the_line_and_says_nothing() -> None:
    bench = Bench()
    bench.subscriber.close()
    bench.subscriber.subscribe("", [b"a"])
    line = bench.subscriber.line
    bench.subscriber.close()
    assert line is not None
    assert (line.fileno(), bench.subscriber.line) == (-1, None)
    bench.subscriber.fetch()
    assert bench.said() == [b"SUBSCRIBE a"], "what is wanted is said again by who goes on"


# ---- what the server says --------------------------------------------------------------------------------------------


def test_messages_come_in_both_protocols_and_what_is_of_another_form_is_passed_over() -> None:
    for kind, protocol in ((b">", 3), (b"*", 2)):
        bench = Bench(protocol=protocol)
        bench.subscriber.subscribe("", [b"a"])
        said = [
            push(b"subscribe", b"a", 1, kind=kind),
            push(b"message", b"a", b"1", kind=kind),
            push(b"pmessage", b"a*", b"a", b"2", kind=kind),
            push(b"smessage", b"s", b"3", kind=kind),
            push(b"message", b"a", kind=kind),
            push(b"message", b"a*", b"a", b"4", kind=kind),
            push(b"pmessage", b"a", b"5", kind=kind),
            push(b"subscribe", b"a", kind=kind),
            push(b"invalidate", b"a", b"6", kind=kind),
        ]
        assert bench.tell(*said) == [
            message("subscribe", b"a", 1),
            message("message", b"a", b"1"),
            message("pmessage", b"a", b"2", b"a*"),
            message("smessage", b"s", b"3"),
        ]


def test_each_name_is_confirmed_alone_and_out_of_order_of_the_kinds() -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a", b"b"])
    bench.subscriber.subscribe("p", [b"c*"])
    steps = [push(b"psubscribe", b"c*", 1), push(b"subscribe", b"b", 2), push(b"subscribe", b"a", 3)]
    assert [(bench.tell(step)[0]["data"], bench.subscriber.unconfirmed) for step in steps] == [
        (1, True),
        (2, True),
        (3, False),
    ]
    bench.subscriber.unsubscribe("", [b"a", b"b"])
    assert bench.tell(push(b"unsubscribe", b"a", 2)) == [message("unsubscribe", b"a", 2)]
    assert bench.subscriber.unconfirmed
    assert bench.tell(push(b"unsubscribe", b"b", 1)) == [message("unsubscribe", b"b", 1)]
    assert not bench.subscriber.unconfirmed


def test_a_channel_and_a_pattern_of_the_same_name_are_two_subscriptions() -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a"])
    bench.subscriber.subscribe("p", [b"a"])
    assert bench.tell(push(b"psubscribe", b"a", 1)) == [message("psubscribe", b"a", 1)]
    [error] = bench.tell(b"-NOPERM a\r\n")
    assert error.command == "SUBSCRIBE"
    assert bench.subscriber.wanted == {"": {}, "p": {b"a": None}, "s": {}}


def test_what_the_server_confirms_twice_is_told_twice() -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a"])
    confirmed = push(b"subscribe", b"a", 1)
    assert bench.tell(confirmed, confirmed) == [message("subscribe", b"a", 1)] * 2
    assert bench.subscriber.strays == []


@pytest.mark.parametrize("item", [b":1\r\n", b":0\r\n", b"_\r\n", b"*0\r\n", b"*1\r\n:1\r\n", b"#t\r\n"])
def test_a_reply_that_is_nothing_of_the_kind_harms_nothing(item: bytes) -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a"])
    assert bench.tell(item) == []
    assert bench.tell(push(b"subscribe", b"a", 1)) == [message("subscribe", b"a", 1)]


def test_leaving_what_the_server_does_not_know_is_confirmed_without_a_name() -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a", b"b"])
    bench.tell(push(b"subscribe", b"a", 1), push(b"subscribe", b"b", 2))
    bench.subscriber.unsubscribe("", [b"a", b"b"])
    assert bench.tell(push(b"unsubscribe", None, 0)) == [message("unsubscribe", None, 0)]
    assert not bench.subscriber.unconfirmed
    assert bench.tell(push(b"unsubscribe", None, 0)) == [message("unsubscribe", None, 0)]


def test_a_sharded_channel_that_nobody_left_has_moved() -> None:
    bench = Bench()
    bench.subscriber.subscribe("s", [b"e", b"f"])
    bench.tell(push(b"ssubscribe", b"e", 1), push(b"ssubscribe", b"f", 2))
    assert bench.tell(push(b"sunsubscribe", b"e", 1)) == []
    assert bench.subscriber.strays == [b"e"]
    assert bench.subscriber.wanted["s"] == {b"f": None}
    assert bench.tell(push(b"sunsubscribe", b"e", 1)) == [message("sunsubscribe", b"e", 1)]
    bench.subscriber.unsubscribe("s", [b"f"])
    assert bench.tell(push(b"sunsubscribe", b"f", 0)) == [message("sunsubscribe", b"f", 0)]
    assert bench.subscriber.strays == [b"e"]


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_of_several_that_are_refused_each_is_said_alone_and_what_is_refused_then_is_given_up() -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a", b"b", b"c"])
    bench.subscriber.unsubscribe("", [b"c"])
    bench.said()
    assert bench.tell(b"-NOPERM one of them\r\n") == []
    assert bench.said() == [b"SUBSCRIBE a", b"SUBSCRIBE b"]
    bench.tell(push(b"unsubscribe", b"c", 0))
    [error] = bench.tell(b"-NOPERM b\r\n", push(b"subscribe", b"b", 1))[:1]
    assert isinstance(error, NoPermission)
    assert error.command == "SUBSCRIBE"
    assert bench.subscriber.wanted[""] == {b"b": None}
    assert not bench.subscriber.unconfirmed


def test_a_refusal_belongs_to_the_oldest_command_that_is_not_confirmed() -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a"])
    bench.subscriber.unsubscribe("", [b"a"])
    bench.subscriber.subscribe("", [b"a"])
    bench.tell(push(b"subscribe", b"a", 1))
    [error] = bench.tell(b"-ERR not that\r\n")
    assert error.command == "UNSUBSCRIBE"
    assert bench.subscriber.wanted[""] == {b"a": None}
    assert bench.subscriber.unconfirmed
    bench.tell(push(b"subscribe", b"a", 1))
    assert bench.tell(b"-ERR whose is this\r\n") == []
    assert bench.subscriber.wanted[""] == {b"a": None}


@pytest.mark.parametrize("names", [[b"a"], [b"a", b"b"]])
def test_a_refusal_that_passes_means_another_connection(names: list[bytes]) -> None:
    bench = Bench()
    bench.subscriber.subscribe("", names)
    assert bench.tell(b"-LOADING the dataset\r\n") == []
    assert bench.subscriber.line is None
    assert isinstance(bench.subscriber.last_error, Loading)
    assert list(bench.subscriber.wanted[""]) == names


@pytest.mark.parametrize("count", [2, 3])
def test_of_however_many_are_refused_each_is_tried_alone(count: int) -> None:
    bench = Bench()
    bench.subscriber.subscribe("p", [b"%d*" % number for number in range(count)])
    bench.said()
    assert bench.tell(b"-NOPERM one of them\r\n") == []
    assert bench.said() == [b"PSUBSCRIBE %d*" % number for number in range(count)]


def test_a_sharded_channel_that_is_elsewhere_is_a_stray_and_any_other_kind_is_refused() -> None:
    bench = Bench()
    bench.subscriber.subscribe("s", [b"e"])
    assert bench.tell(b"-MOVED 1 h:1\r\n") == []
    assert (bench.subscriber.strays, bench.subscriber.wanted["s"]) == ([b"e"], {})
    bench.subscriber.subscribe("", [b"a"])
    [error] = bench.tell(b"-MOVED 1 h:1\r\n")
    assert isinstance(error, Moved)
    bench.subscriber.subscribe("s", [b"f"])
    bench.tell(push(b"ssubscribe", b"f", 1))
    bench.subscriber.unsubscribe("s", [b"f"])
    [error] = bench.tell(b"-MOVED 1 h:1\r\n")
    assert (error.command, bench.subscriber.strays) == ("SUNSUBSCRIBE", [b"e"])
    bench.subscriber.subscribe("s", [b"g"])
    [error] = bench.tell(b"-NOPERM g\r\n")
    assert (error.command, bench.subscriber.strays) == ("SSUBSCRIBE", [b"e"])


# ---- a silent server -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "pong"),
    [(3, b"+PONG\r\n"), (2, push(b"pong", b"", kind=b"*")), (2, b"+PONG\r\n")],
)
def test_a_ping_stands_among_the_commands_until_it_is_answered(protocol: int, pong: bytes) -> None:
    bench = Bench(protocol=protocol)
    bench.subscriber.subscribe("", [b"a"])
    kind = b">" if protocol == 3 else b"*"
    bench.tell(push(b"subscribe", b"a", 1, kind=kind))
    bench.said()
    bench.subscriber.probe(0.0, 60.0)
    bench.subscriber.probe(0.0, 60.0)
    assert bench.said() == [b"PING"]
    assert not bench.subscriber.unconfirmed
    bench.subscriber.subscribe("p", [b"b*"])
    assert bench.tell(pong) == []
    [error] = bench.tell(b"-NOPERM b*\r\n")
    assert error.command == "PSUBSCRIBE"
    assert bench.tell(b"-NOPERM nothing\r\n") == []


def test_a_ping_that_is_refused_is_answered() -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a"])
    bench.tell(push(b"subscribe", b"a", 1))
    bench.subscriber.probe(0.0, 60.0)
    bench.subscriber.subscribe("p", [b"b*"])
    assert bench.tell(b"-NOPERM PING\r\n") == []
    assert bench.subscriber.wanted["p"] == {b"b*": None}
    [error] = bench.tell(b"-NOPERM b*\r\n")
    assert error.command == "PSUBSCRIBE"


def test_neither_a_refusal_nor_a_message_of_another_kind_answers_a_ping() -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a"])
    bench.subscriber.probe(0.0, 60.0)
    bench.subscriber.subscribe("p", [b"b*"])
    [error] = bench.tell(b"-NOPERM a\r\n", push(b"invalidate", b"x"), push(b"zzz", b"x"))
    assert error.command == "SUBSCRIBE"
    assert bench.tell(b"-NOPERM PING\r\n") == []
    assert bench.subscriber.wanted["p"] == {b"b*": None}


def test_a_server_that_does_not_answer_a_ping_is_lost() -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a"])
    assert 50 < bench.subscriber.probe(60.0, 5.0) <= 60
    assert bench.subscriber.probe(0.0, 5.0) == 5.0
    with pytest.raises(ConnectionLost, match="PING"):
        bench.subscriber.probe(0.0, 0.0)


# ---- coming back -----------------------------------------------------------------------------------------------------


def test_attempts_get_rarer_until_the_server_confirms_something() -> None:
    bench = Bench(*[ConnectionLost("refused") for _ in range(5)])
    pauses = []
    for _ in range(5):
        bench.subscriber.reconnect()
        pauses.append(bench.pause)
    for pause, most in zip(pauses, (8, 16, 32, 64, 64), strict=True):
        assert most / 2 - 1 < pause <= most
    bench.subscriber.subscribe("", [b"a"])
    bench.subscriber.lose(ConnectionLost("taken only to be dropped"))
    assert bench.pause > 30
    bench.subscriber.reconnect()
    bench.tell(push(b"subscribe", b"a", 1))
    bench.subscriber.lose(ConnectionLost("gone"))
    assert bench.pause <= 0
    bench.subscriber.reconnect()
    bench.subscriber.lose(ConnectionLost("and again"))
    assert 3 < bench.pause <= 8


def test_it_connects_again_when_the_time_has_come_and_not_before() -> None:
    bench = Bench(ConnectionLost("refused"))
    bench.subscriber.subscribe("", [b"a"])
    assert str(bench.subscriber.last_error) == "refused"
    bench.subscriber.fetch()
    assert bench.peers == []
    bench.subscriber.next_attempt = time.monotonic()
    bench.subscriber.fetch()
    assert bench.said() == [b"SUBSCRIBE a"]
    assert bench.heard == []


def test_a_server_that_hangs_up_is_lost_once_what_it_said_was_heard() -> None:
    bench = Bench()
    bench.subscriber.subscribe("", [b"a"])
    bench.peers[0].send(push(b"subscribe", b"a", 1) + push(b"message", b"a", b"1"))
    bench.peers[0].sock.close()
    bench.subscriber.fetch()
    assert bench.heard == [message("subscribe", b"a", 1), message("message", b"a", b"1")]
    bench.subscriber.fetch()
    assert bench.subscriber.line is None
    bench.subscriber.fetch()
    assert bench.said() == [b"SUBSCRIBE a"]
    assert [found["type"] for found in bench.heard[2:]] == ["gap"]


def test_wrong_credentials_are_raised_and_trouble_is_not() -> None:
    bench = Bench(AuthenticationError("WRONGPASS", "no"), ServerError("ERR", "no"))
    with pytest.raises(AuthenticationError):
        bench.subscriber.subscribe("", [b"a"])
    assert bench.pause > 3
    bench.subscriber.reconnect()
    assert isinstance(bench.subscriber.last_error, ServerError)


def test_each_new_reason_is_a_line_in_the_log_and_the_same_one_again_is_none(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(*[ConnectionLost(text) for text in ("one", "one", "two", "one", "one")])
    bench.subscriber.reconnect()
    assert caplog.records == [], "nothing is wanted"
    bench.subscriber.subscribe("", [b"a"])
    for _ in range(3):
        bench.subscriber.reconnect()
    bench.subscriber.reconnect()
    bench.tell(push(b"subscribe", b"a", 1))
    bench.subscriber.lose(ConnectionLost("one"))
    assert [record.getMessage() for record in caplog.records] == [
        f"publish/subscribe: {text}; trying again" for text in ("one", "two", "one", "one")
    ]
