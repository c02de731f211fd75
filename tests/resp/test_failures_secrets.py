# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A password appears in no repr, no log line, no exception text and no traceback, however the call fails."""

import gc
import logging
import traceback
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from resp import Client, InvalidArgument, RespError
from resp.pubsub import PubSub
from resp.tracking import Tracking
from tests.resp.certs import Certificates
from tests.resp.chaos import ChaosProxy, Fault, TlsFront
from tests.resp.servers import Server
from tests.waiting import wait_until

PASSWORD = "hunter2 s/e@c:r&é%t"
USER = "geheimnisträger"


def forms(secret: str) -> list[str]:
    """How a secret may look in a text: as it is, as bytes, quoted for a URL."""
    found = [secret, repr(secret)[1:-1], repr(secret.encode())[2:-1], quote(secret, safe=""), quote(secret)]
    return [*found, "hunter2"]


def texts(error: BaseException) -> Iterator[str]:
    """Everything that a log or an error page may print of an exception and its causes."""
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        one = queue.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        queue += [one.__cause__, one.__context__]
        yield str(one)
        yield repr(one)
        yield repr(one.args)
        yield repr(vars(one))
    # The source lines of this file hold no secret; those of the values of local variables would.
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    for frame in trace.stack:
        if "/resp/" in frame.filename and "/tests/" not in frame.filename:
            yield f"{frame.line}"
    yield "".join(traceback.format_exception(error))


def check(places: Iterator[str] | list[str]) -> None:
    for text in places:
        for form in forms(PASSWORD):
            assert form not in text


@pytest.fixture(autouse=True)
def _all_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.DEBUG):
        yield
    check([caplog.text, *(str(record.args) for record in caplog.records)])


def failing(call: Callable[[], object]) -> BaseException:
    with pytest.raises(RespError) as caught:
        call()
    check(texts(caught.value))
    return caught.value


@pytest.mark.parametrize("old", [False, True], ids=["with a user", "password only"])
def test_a_refused_password_is_not_told(new_valkey: Callable[..., Server], old: bool) -> None:
    server = new_valkey(password="other")
    user = None if old else USER
    with Client(host=server.host, port=server.port, username=user, password=PASSWORD) as client:
        failing(lambda: client.get("a"))
        check([repr(client), str(client), repr(vars(client)) if hasattr(client, "__dict__") else ""])


def test_objects_do_not_show_their_password(new_valkey: Callable[..., Server]) -> None:
    server = new_valkey(password=PASSWORD)
    with Client.from_url(server.url) as client:
        client.set("a", "1")
        check([repr(client), str(client)])
        pipe = client.pipeline(transaction=False)
        check([repr(pipe)])
        # Everything of ours that is alive, however deep: pools, connections, options.
        ours = [one for one in gc.get_objects() if type(one).__module__.partition(".")[0] == "resp"]
        assert ours
        check([repr(one) for one in ours])


@pytest.mark.parametrize(
    "fault",
    [Fault("cut"), Fault("reset"), Fault("cut", after=9, direction="to server"), Fault("inject", data=b"nonsense\r\n")],
)
def test_a_broken_handshake_does_not_tell_it(
    new_valkey: Callable[..., Server], chaos: Callable[..., ChaosProxy], fault: Fault
) -> None:
    server = new_valkey(password=PASSWORD)
    proxy = chaos(server.address, fault)
    with Client(host=proxy.host, port=proxy.port, username="default", password=PASSWORD, timeout=0.5) as client:
        failing(lambda: client.get("a"))


def test_a_timeout_in_the_handshake_does_not_tell_it(
    new_valkey: Callable[..., Server], chaos: Callable[..., ChaosProxy]
) -> None:
    server = new_valkey(password=PASSWORD)
    proxy = chaos(server.address, Fault("pause", seconds=30))
    with Client(host=proxy.host, port=proxy.port, password=PASSWORD, timeout=0.3) as client:
        failing(lambda: client.get("a"))


def test_a_server_that_echoes_it_does_not_make_us_tell_it(
    new_valkey: Callable[..., Server], chaos: Callable[..., ChaosProxy]
) -> None:
    """An old server answers an unknown HELLO with the beginning of its arguments, the password among them."""
    server = new_valkey(password=PASSWORD)
    said = (
        f"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `{PASSWORD}`, \r\n".encode()
    )
    proxy = chaos(server.address, Fault("inject", data=said * 5))
    with Client(host=proxy.host, port=proxy.port, password=PASSWORD, timeout=1.0) as client:
        try:
            client.get("a")
        except RespError as error:
            check(texts(error))


def test_a_refused_certificate_does_not_tell_it(
    new_valkey: Callable[..., Server], tls_front: Callable[..., TlsFront], certificates: Certificates
) -> None:
    server = new_valkey(password=PASSWORD)
    front = tls_front(server.address)
    url = f"rediss://{quote(USER)}:{quote(PASSWORD, safe='')}@localhost:{front.port}"
    with Client.from_url(url, timeout=1.0) as client:
        failing(lambda: client.get("a"))


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:{}@127.0.0.1:99999/0",
        "redis://user:{}@127.0.0.1:port/0",
        "redis://user:{}@127.0.0.1:6379/database",
        "redis://user:{}@127.0.0.1:6379/0?nonsense=1",
        "nonsense://user:{}@127.0.0.1:6379/0",
        "redis://user:{}@[::1/0",
        "unix://user:{}@",
        "redis://user:{}@127.0.0.1:6379/0?timeout=soon",
    ],
)
def test_a_bad_url_is_named_without_its_password(url: str) -> None:
    error = failing(lambda: Client.from_url(url.format(quote(PASSWORD, safe=""))).get("a"))
    assert isinstance(error, InvalidArgument | RespError)


def test_a_password_that_cannot_be_sent_is_not_told() -> None:
    error = failing(lambda: Client(host="127.0.0.1", port=1, password=f"{PASSWORD}\ud800").get("a"))
    assert isinstance(error, RespError)


def test_an_auth_command_that_fails_does_not_tell_it(new_valkey: Callable[..., Server]) -> None:
    server = new_valkey(password="other")
    with Client(host=server.host, port=server.port, password="other") as client:
        failing(lambda: client.execute("AUTH", PASSWORD))
        failing(lambda: client.execute("AUTH", USER, PASSWORD))


def test_tracking_and_pubsub_do_not_tell_it(new_valkey: Callable[..., Server], connect: Callable[..., object]) -> None:
    server = new_valkey(password="other")
    open_wrongly = lambda: connect(server.address, password=PASSWORD)  # noqa: E731  # a name for both uses
    with Tracking(open_wrongly, print) as tracking:  # type: ignore[arg-type]  # a Connection
        wait_until(lambda: tracking.last_error is not None)
        assert tracking.last_error is not None
        check([repr(tracking), repr(tracking.status), *texts(tracking.last_error)])
    with PubSub(open_wrongly) as pubsub:  # type: ignore[arg-type]  # a Connection
        failing(lambda: pubsub.subscribe("a"))
        check([repr(pubsub)])
