# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How much of no use a client may ask for: how much at once, how much a second, and what pays for more."""

from collections.abc import Callable

import pytest

from addon.lane.http2 import frames
from addon.lane.http2.abuse_limits import Budget, Budgets
from addon.lane.http2.frames import ConnectionFault, ErrorCode, frame, ping, rst_stream
from tests.addon.lane.http2.talking import Client, connection_error


def times(spend: Callable[[], None]) -> int:
    """How often it is allowed."""
    for count in range(10_000):
        try:
            spend()
        except ConnectionFault:
            return count
    return 10_000


def test_a_thousand_frames_may_do_nothing_at_once_and_a_hundred_more_each_second() -> None:
    budgets = Budgets(50.0)
    assert times(lambda: budgets.spend(50.0)) == 1_000
    assert times(lambda: budgets.spend(51.0)) == 100
    assert times(lambda: budgets.spend(51.5)) == 50
    with pytest.raises(ConnectionFault) as ended:
        budgets.spend(51.5)
    assert ended.value.code is ErrorCode.ENHANCE_YOUR_CALM
    assert times(lambda: budgets.spend(500.0)) == 1_001  # and no more, however long it waits: the first found nothing


def test_a_frame_may_cost_more_or_less_than_one() -> None:
    budgets = Budgets(0.0)
    assert times(lambda: budgets.spend(0.0, 4.0)) == 250
    budgets = Budgets(0.0)
    assert times(lambda: budgets.spend(0.0, 0.25)) == 4_000


def test_as_many_requests_may_come_to_nothing_as_browsers_leave_and_25_more_each_second() -> None:
    budgets = Budgets(50.0)
    assert times(lambda: budgets.failed(50.0)) == 250
    assert times(lambda: budgets.failed(52.0)) == 50
    assert times(lambda: budgets.spend(50.0)) == 1_000  # the two accounts are apart


def test_each_answer_and_each_512_bytes_of_it_pay_for_a_frame_and_two_whole_ones_for_a_failure() -> None:
    budgets = Budgets(0.0)
    times(lambda: budgets.spend(0.0))
    times(lambda: budgets.failed(0.0))
    budgets.answered(3, 5 * 512, 4)
    assert times(lambda: budgets.spend(0.0)) == 3 + 5
    assert times(lambda: budgets.failed(0.0)) == 2
    budgets.sent(7 * 512)
    assert times(lambda: budgets.spend(0.0)) == 7
    assert times(lambda: budgets.failed(0.0)) == 0
    for _ in range(6):
        budgets.over()
    assert times(lambda: budgets.failed(0.0)) == 3
    assert times(lambda: budgets.spend(0.0)) == 0


def test_nobody_saves_more_than_there_is_at_first() -> None:
    budgets = Budgets(0.0)
    budgets.answered(5_000, 5_000_000, 5_000)
    budgets.sent(5_000_000)
    assert times(lambda: budgets.spend(0.0)) == 1_000
    assert times(lambda: budgets.failed(0.0)) == 250


def test_what_came_with_time_is_counted_when_the_account_is_empty() -> None:
    budget = Budget(10, 2.0, 0.0)
    assert budget.spend(10.0, 1.0)  # nine are left of those of the beginning
    assert budget.spend(10.0, 10.0)  # which is one too many: now ten seconds count, and fill it up
    assert budget.spend(10.0, 10.0)
    assert not budget.spend(10.0, 1.0)


# What the protocol pays in.


def test_who_is_answered_may_ask_for_as_much_more() -> None:
    for path, paid in (("/ready/0", 1), ("/ready/1024", 3), ("/0", 1)):
        client = Client()
        for number in range(1_200 // paid):
            said = client.get(1 + 2 * number, path) + ping(bytes(8)) * paid
            assert connection_error(client.say(said)) is None
    client = Client()
    number, answer = 0, client.out()
    while connection_error(answer) is None:
        number += 1
        answer = client.say(client.get(2 * number - 1, "/ready/0") + ping(bytes(8)) * 3)
    assert number in range(498, 502)  # two more than are paid, each time


@pytest.mark.parametrize("path", ["/ready/0", "/0", "/5"])
def test_two_requests_that_are_answered_pay_for_one_that_is_given_up(path: str) -> None:
    client = Client()
    for number in range(1, 2_400, 6):
        said = client.get(number, path) + client.get(number + 2, path)
        said += client.get(number + 4, "/wait") + rst_stream(number + 4, ErrorCode.CANCEL)
        assert connection_error(client.say(said)) is None
    number, answer = 2_401, client.out()
    while connection_error(answer) is None:
        answer = client.say(client.get(number, "/wait") + rst_stream(number, ErrorCode.CANCEL))
        number += 2
    assert (number - 2_401) // 2 in range(249, 252)  # nobody is paid for what is only asked


def test_a_piece_of_a_body_is_worth_its_frame_from_256_bytes_on_or_if_it_is_the_last() -> None:
    for size, flags, pieces in ((256, 0, 1_100), (255, 0, 1_000), (1, 0, 1_000)):
        client = Client()
        said = client.headers(1, [(":method", "POST"), (":scheme", "https"), (":path", "/body")], 4)
        client.say(said)
        piece = frame(frames.DATA, flags, 1, bytes(size))
        closed = next((n for n in range(1_100) if connection_error(client.say(piece)) is not None), 1_100)
        assert closed in range(pieces - 10, pieces + 10)
    client = Client()
    for number in range(1, 2_400, 2):
        said = client.headers(number, [(":method", "POST"), (":scheme", "https"), (":path", "/body")], 4)
        assert connection_error(client.say(said + frame(frames.DATA, 1, number, b"a"))) is None
