# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A node that owns every slot and says that another does, or nobody for now: what is followed and waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from resp import Client, ClusterDown, Moved, ServerError, TryAgain, cluster_batches
from tests.resp.scripted import Exchange, Scripted


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of which takes time."""
    made: list[float] = []
    monkeypatch.setattr(cluster_batches, "_time", SimpleNamespace(sleep=made.append))
    return made


@contextmanager
def node(*answers: str) -> Iterator[tuple[Client[bytes], list[str]]]:
    """A client of this node, and the commands that came; `answers` are its first ones, with PORT for its port."""
    left = list(answers)
    came: list[str] = []

    def script(exchange: Exchange) -> None:
        while True:
            name = exchange.command()[0].decode()
            if name == "CLUSTER":
                exchange.send(b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % server.port)
                continue
            if name == "PING":
                exchange.send(b"+PONG\r\n")
                continue
            came.append(name)
            if name == "ASKING":
                exchange.send(b"+OK\r\n")
            else:
                answer = left.pop(0) if left else "+done"
                exchange.send(answer.replace("PORT", str(server.port)).encode() + b"\r\n")

    with Scripted(script) as server, Client(cluster=[(server.host, server.port)], timeout=60) as client:
        yield client, came


Way = Callable[[Client[bytes]], Any]
WAYS: dict[str, Way] = {
    "as the first": lambda client: client.execute("SET", "key", "v"),
    "with the map at hand": lambda client: client.ping() and client.execute("SET", "key", "v"),
    "in a pipeline": lambda client: client.pipeline(transaction=False).execute_command("SET", "key", "v").execute()[0],
}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@each_way
@pytest.mark.parametrize(
    ("answers", "commands"),
    [
        (["-MOVED 12539 127.0.0.1:PORT"], ["SET", "SET"]),
        (["-MOVED 12539 :PORT"], ["SET", "SET"]),  # the host that was asked
        (["-ASK 12539 :PORT"], ["SET", "ASKING", "SET"]),
        (["-MOVED 12539 :PORT", "-ASK 12539 :PORT"], ["SET", "SET", "ASKING", "SET"]),
        (["-TRYAGAIN Multiple keys request during rehashing of slot"] * 2, ["SET"] * 3),
        (["-CLUSTERDOWN Hash slot not served"] * 2, ["SET"] * 3),
        (["-LOADING the dataset in memory", "-CLUSTERDOWN not yet", "-MOVED 12539 :PORT"], ["SET"] * 4),
        (["-MOVED 12539 :PORT"] * 5, ["SET"] * 6),
    ],
)
def test_what_a_node_says_of_a_slot_is_followed_and_waited_for(
    way: Way, answers: list[str], commands: list[str], pauses: list[float]
) -> None:
    with node(*answers) as (client, came):
        assert way(client) == b"done"
        assert came == commands


@each_way
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("-MOVED 12539 :PORT", Moved),
        ("-TRYAGAIN Multiple keys request during rehashing of slot", TryAgain),
        ("-CLUSTERDOWN The cluster is down", ClusterDown),
    ],
)
def test_after_the_fifth_time_it_is_the_callers_error(
    way: Way, answer: str, error: type[ServerError], pauses: list[float]
) -> None:
    with node(*[answer] * 20) as (client, came):
        with pytest.raises(error):
            way(client)
        assert came == ["SET"] * 6


@each_way
def test_any_other_refusal_is_the_answer(way: Way, pauses: list[float]) -> None:
    with node("-OOM command not allowed") as (client, came):
        with pytest.raises(ServerError, match="OOM"):
            way(client)
        assert (came, pauses) == (["SET"], [])
