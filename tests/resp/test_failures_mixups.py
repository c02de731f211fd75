# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Nobody gets somebody else's value: late replies, timeouts, interrupts, mode changes, forks, many threads."""

import ctypes
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

import pytest

from resp import Client, PoolExhausted, RespError, Timeout
from tests.resp.chaos import Fault
from tests.resp.conftest import AnyServer, Route, Through, TlsServer, only_node, wait_for_news
from tests.resp.servers import Server
from tests.waiting import DEADLINE, wait_until

ROOT: Final = Path(__file__).parents[2]


def value_of(key: str) -> bytes:
    return f"value of {key}".encode() * (1 + len(key))


def fill(server: AnyServer, count: int = 100) -> list[str]:
    keys = [f"key:{number}" for number in range(count)]
    with server.console() as console:
        for key in keys:
            console.ask("SET", key, value_of(key))
    return keys


@pytest.mark.parametrize("stale", [b"$5\r\nSTALE\r\n", b"+STALE\r\n", b"$5\r\nSTA", b"\r", b"-ERR stale\r\n", b"_\r\n"])
def test_a_late_reply_on_an_idle_connection_is_not_the_next_callers(
    server: AnyServer, through: Through, stale: bytes
) -> None:
    fill(server)
    route = through(server.address)
    with route.client() as client:
        assert client.get("key:1") == value_of("key:1")
        route.proxy.inject(stale)
        wait_for_news(only_node(client).pool._idle[-1])
        for key in ("key:2", "key:3"):
            assert client.get(key) == value_of(key)


def test_an_extra_reply_that_comes_with_its_predecessor_is_not_the_next_callers(
    server: AnyServer, through: Through
) -> None:
    fill(server)
    route = through(server.address)
    with route.client() as client:
        for number in range(5):
            client.ping()
            size = len(b"$%d\r\n" % len(value_of("key:1"))) + len(value_of("key:1")) + 2
            route.proxy.arm(Fault("repeat", after=size, at_once=True))
            for key in ("key:1", f"key:{number}"):
                try:
                    assert client.get(key) == value_of(key)
                except RespError:
                    assert key == "key:1", "only the call that got too much may fail"


def test_a_timeout_after_every_byte_of_a_pipeline_disturbs_no_other_thread(server: AnyServer, through: Through) -> None:
    keys = fill(server)
    short = {f"s{number}": b"v%d" % number for number in range(3)}
    for key, value in short.items():
        server.ask("SET", key, value)
    length = sum(len(b"$2\r\n%b\r\n" % value) for value in short.values())
    stop = threading.Event()

    def others() -> int:
        rng, calls = random.Random(threading.get_ident()), 0
        while not stop.wait(0.001):
            key = rng.choice(keys)
            assert other.get(key) == value_of(key)
            calls += 1
        return calls

    # Each waits for its deadline, so many at once, each on a route of its own.
    routes: queue.SimpleQueue[Route] = queue.SimpleQueue()
    for _ in range(8):
        routes.put(through(server.address))

    def one(after: int) -> None:
        route = routes.get()
        with route.client(timeout=0.8) as client:
            assert client.get(keys[9]) == value_of(keys[9])
            route.proxy.arm(Fault("pause", after=after, seconds=60))
            pipe = client.pipeline(transaction=False)
            for key in short:
                pipe.get(key)
            started = time.monotonic()
            with pytest.raises(Timeout):
                pipe.execute()
            assert 0.7 < time.monotonic() - started < 2.5
            for key in keys[3:6]:
                assert client.get(key) == value_of(key)
        routes.put(route)

    with Client(host=server.host, port=server.port) as other, ThreadPoolExecutor(10) as threads:
        background = [threads.submit(others) for _ in range(2)]
        try:
            for done in [threads.submit(one, after) for after in range(length)]:
                done.result(30)
        finally:
            stop.set()
        assert all(one.result() > 100 for one in background)


class Interrupted(BaseException):
    """Raised from outside in the middle of a call, like KeyboardInterrupt."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, Interrupted])
@pytest.mark.parametrize("after", [0, 3, 200_000])
def test_a_signal_that_raises_inside_a_call_spoils_only_that_call(
    server: AnyServer, through: Through, kind: type[BaseException], after: int
) -> None:
    fill(server)
    server.ask("SET", "large", b"x" * 400_000)
    route = through(server.address)

    def interrupt(*_: object) -> None:
        raise kind

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with route.client() as client:
            for _ in range(2):
                client.ping()
                route.proxy.arm(Fault("pause", after=after, seconds=60))
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                with pytest.raises(kind):
                    client.get("large")
                assert client.get("key:1") == value_of("key:1")
                assert client.get("key:2") == value_of("key:2")
            assert client.get("large") == b"x" * 400_000
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_that_returns_does_not_disturb_a_call(server: AnyServer, through: Through) -> None:
    fill(server)
    caught: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: caught.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        with through(server.address).client() as client:
            for _ in range(4):
                client.ping()
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                assert client.get("key:1") == value_of("key:1")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(caught) > 5


def test_signals_do_not_stretch_the_deadline(server: AnyServer, through: Through) -> None:
    """Python calls recv() again after a signal, and a limit in the kernel would begin anew each time."""
    route = through(server.address)
    before = signal.signal(signal.SIGALRM, lambda number, frame: None)
    try:
        with route.client(timeout=0.5) as client:
            client.ping()
            route.proxy.freeze()
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            started = time.monotonic()
            with pytest.raises(Timeout):
                client.get("a")
            assert 0.4 < time.monotonic() - started < 1.0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Where an exception strikes inside a destructor, Python can only warn.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_exceptions_thrown_into_a_thread_at_any_moment_mix_nothing_up(server: AnyServer, through: Through) -> None:
    """PyThreadState_SetAsyncExc strikes between any two bytecodes, inside the pool as well as inside a reply."""
    keys = fill(server)
    interrupts, calls = [0], [0]
    wrong: list[object] = []
    stop = threading.Event()

    def work() -> None:
        rng = random.Random(1)
        while not stop.is_set():
            try:
                while not stop.is_set():
                    key = rng.choice(keys)
                    found = client.get(key)
                    if found != value_of(key):
                        wrong.append((key, found))
                    calls[0] += 1
            except Interrupted:
                interrupts[0] += 1
            except RespError as error:
                wrong.append((type(error).__name__, str(error)))

    with through(server.address).client(pool_size=2, max_connections=2, wait_timeout=5.0) as client:
        thread = threading.Thread(target=work)
        thread.start()
        assert thread.ident is not None
        until = time.monotonic() + DEADLINE
        while (interrupts[0] <= 50 or calls[0] <= 100) and time.monotonic() < until:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Interrupted))
            time.sleep(0.012)  # the pace of the interrupts, not a wait: a new connection over TLS takes 5 ms
        stop.set()
        while thread.is_alive():
            thread.join(0.1)
        assert wrong == []
        assert interrupts[0] > 50
        assert calls[0] > 100
        # No connection leaked: all that the pool allows can still be had at the same time.
        with ThreadPoolExecutor(2) as threads:
            for found in threads.map(client.get, keys[:20]):
                assert found is not None


@pytest.mark.parametrize("words", [("RESET",), ("HELLO", "2"), ("HELLO", "3")])
def test_a_change_of_mode_in_mid_life_mixes_nothing_up(
    real_server: Server, through: Through, words: tuple[str, ...]
) -> None:
    keys = fill(real_server)
    with through(real_server.address).client(max_connections=1) as client:
        for key in keys[:3]:
            client.execute(*words)
            assert client.get(key) == value_of(key)
            assert client.get("missing") is None
            assert client.mget([key, "missing"]) == [value_of(key), None]
            assert client.execute("MGET", "missing") == [None]


def test_a_reset_does_not_lead_to_another_database(real_server: Server, through_plain: Through) -> None:
    with through_plain(real_server.address).client(db=3, max_connections=1) as client:
        client.set("a", "three")
        client.execute("RESET")
        try:
            assert client.get("a") == b"three"
        except RespError:
            assert client.get("a") == b"three"
    assert real_server.ask("GET", "a") is None


def test_parent_and_child_of_a_fork_are_both_right(server: AnyServer, through: Through) -> None:
    keys = fill(server)
    with through(server.address).client(max_connections=4) as client:
        stop = threading.Event()

        def work() -> int:
            rng, calls = random.Random(threading.get_ident()), 0
            while not stop.is_set():
                key = rng.choice(keys)
                assert client.get(key) == value_of(key)
                calls += 1
            return calls

        with ThreadPoolExecutor(4) as threads:
            working = [threads.submit(work) for _ in range(4)]
            wait_until(lambda: client.get("key:1"))
            children = []
            for _ in range(4):
                child = os.fork()
                if child == 0:
                    try:
                        right = all(client.get(key) == value_of(key) for key in keys * 2)
                        os._exit(0 if right else 1)
                    except BaseException:
                        os._exit(2)
                children.append(child)
            codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
            stop.set()
            assert codes == [0, 0, 0, 0]
            assert all(one.result() > 0 for one in working)
        for key in keys:
            assert client.get(key) == value_of(key)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
def test_64_threads_on_a_pool_of_4_each_get_their_own_values(
    real_server: Server, tls_valkey: TlsServer, tls: bool
) -> None:
    keys = fill(real_server, 500)
    if tls and real_server is not tls_valkey.server:
        return  # TLS is in front of Valkey only; Redis 7 is the same client code with the same bytes
    address = tls_valkey.address if tls else real_server.address
    context = tls_valkey.certificates.client_context() if tls else None
    operations = 10_000 if tls else 50_000  # over both servers 100 000 in the clear
    before = open_descriptors()
    highest = 0

    with Client(
        host=address[0],
        port=address[1],
        ssl=context or False,
        pool_size=4,
        max_connections=4,
        wait_timeout=30,
        timeout=30,
    ) as client:

        def work(number: int) -> None:
            rng = random.Random(number)
            for _ in range(operations // 64 + 1):
                key = rng.choice(keys)
                assert client.get(key) == value_of(key)

        with ThreadPoolExecutor(64) as threads:
            working = [threads.submit(work, number) for number in range(64)]
            while not all(one.done() for one in working):
                highest = max(highest, len(real_server.clients()))
                wait(working, timeout=0.25)
            for one in working:
                one.result()
    assert 1 <= highest <= 4
    wait_until(lambda: open_descriptors() <= before + 1, what="no descriptor left open")


def test_exhaustion_says_its_numbers_and_passes(valkey: Server, through: Through) -> None:
    with through(valkey.address).client(max_connections=1, wait_timeout=0.1) as client:
        client.ping()
        blocked = threading.Thread(target=client.execute, args=("BLPOP", "nothing", "1"))
        blocked.start()
        wait_until(lambda: any(row["cmd"] == "blpop" for row in valkey.clients()))
        started = time.monotonic()
        with pytest.raises(PoolExhausted, match="1"):
            client.get("a")
        assert 0.05 < time.monotonic() - started < 0.8
        blocked.join()
        assert client.get("a") is None


LARGE: Final = """
import resource, sys
from resp import Client
client = Client(host="127.0.0.1", port=int(sys.argv[1]), timeout=60)
client.get("small")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
value = client.get("large")
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert value is not None and len(value) == 100 << 20 and value.count(b"x") == len(value)
del value
for _ in range(600):
    client.get("small")
with open("/proc/self/statm") as file:
    now = int(file.read().split()[1]) * resource.getpagesize() // 1024
print(after - before, now - before)
"""


def test_a_100_mib_value_costs_little_more_than_itself_and_is_given_back(new_server: Callable[..., Server]) -> None:
    server = new_server()
    with Client(host=server.host, port=server.port, timeout=60) as client:
        client.set("large", b"x" * (100 << 20))
        client.set("small", b"x")
    run = subprocess.run(
        [sys.executable, "-c", LARGE, str(server.port)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    peak, left = map(int, run.stdout.split())
    assert peak < 2.2 * 100 * 1024
    assert left < 5 * 1024
