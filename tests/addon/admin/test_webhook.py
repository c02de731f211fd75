# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Webhooks as a real Forgejo sent them, and what is no webhook."""

import asyncio
import hashlib
import hmac
import json
import tracemalloc
from typing import Any
from urllib.parse import urlencode

import pytest

from addon.admin import webhook
from addon.admin.webhook import LARGEST, MOST_AT_ONCE, Delivery, Webhook, written
from addon.admin.webhook_payload import READ_WHOLE, Event, event_in
from addon.serving.answers import Answer, Request
from addon.settings.schema import Settings
from addon.shared.lookup import Key
from addon.web.forwarding import Visitor
from tests.addon.preview.recordings import pull_webhooks, webhooks
from tests.cases import by_first
from tests.waiting import rounds

SECRET = "hook-secret"
HOST = "pages.test"
RECORDED = webhooks()


class Taken:
    """A webhook, and the repositories that it made others look at."""

    def __init__(self, **options: Any) -> None:
        required = {"pagesDomain": HOST, "forgejoHost": "http://127.0.0.1:1", "stateDir": "/nowhere"}
        settings = Settings.from_mapping({"webhookSecret": SECRET, **required, **options}, environ={})
        self.purged: list[Key] = []
        self.webhook = Webhook(settings, self._purge)

    async def _purge(self, key: Key) -> None:
        self.purged.append(key)

    async def deliver(self, headers: dict[str, str], body: bytes) -> Answer:
        delivery = self.webhook.delivery(request(headers))
        if isinstance(delivery, Answer):
            return delivery
        for start in range(0, len(body), 1000):
            assert delivery.take(body[start : start + 1000]) == []
        delivery.take(b"")
        answer = await delivery.answer()
        await rounds()
        return answer


def request(
    headers: dict[str, str],
    method: str = "POST",
    host: str = HOST,
    path: str = "/.pages/webhook",
    visitor: str = "192.0.2.1",
) -> Request:
    fields = {name.lower().encode(): value.encode() for name, value in headers.items()}
    return Request(method, host, path, None, fields.get, lambda: Visitor(visitor, True))


def signed(body: bytes, event: str = "push") -> dict[str, str]:
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Forgejo-Event": event, "X-Forgejo-Signature": digest, "Content-Type": "application/json"}


@pytest.mark.parametrize("recorded", RECORDED, ids=[f"{each['step']} {each['path']}" for each in RECORDED])
async def test_what_a_real_forgejo_sends_makes_us_look_at_its_repository_if_it_is_signed(
    recorded: dict[str, Any],
) -> None:
    taken = Taken()
    headers, body = dict(recorded["headers"]), recorded["text"].encode()
    answer = await taken.deliver(headers, body)
    if not recorded["secret"]:
        assert (answer.status, taken.purged) == (401, [])
        return
    assert (answer.status, len(taken.purged)) == (202, 1)
    assert f'"{taken.purged[0][1]}"'.encode() in body or taken.purged[0][1].encode() in body
    answer = await taken.deliver(headers, body.replace(b"refs", b"refz", 1) + b" ")
    assert (answer.status, len(taken.purged)) == (403, 1)


OF_PREVIEWS = {"opened", "synchronized", "closed", "reopened", "label_updated", "reviewed"}


async def test_what_forgejo_sends_of_pull_requests_counts_where_there_are_previews() -> None:
    """As recorded: kinds in X-Forgejo-Event or beside it, empty, short and long names."""
    with_previews, without = Taken(previewDomain="preview.test"), Taken()
    for recorded in pull_webhooks():
        body = recorded["text"].encode()
        headers = dict(recorded["headers"]) | signed(body, dict(recorded["headers"]).get("X-Forgejo-Event", ""))
        document = json.loads(body)
        repository = (document.get("repository") or {}).get("full_name")
        kind = dict(recorded["headers"]).get("X-Forgejo-Event-Type", "")
        pull = kind.startswith("pull_request") and document.get("action") in OF_PREVIEWS
        push = kind in ("push", "create", "delete", "repository")
        for taken, counts in ((with_previews, push or (pull and kind != "pull_request_comment")), (without, push)):
            taken.purged.clear()
            answer = await taken.deliver(headers, body)
            assert answer.status == (202 if repository else 400), kind
            expected = [tuple(str(repository).lower().split("/"))] if counts else []
            assert taken.purged == expected, (kind, recorded["step"])


async def test_a_kind_that_stands_only_beside_an_empty_one_is_read() -> None:
    taken = Taken(previewDomain="preview.test")
    body = json.dumps({"action": "opened", "repository": {"full_name": "alice/blog"}}).encode()
    for kind, name in (("pull_request", "X-Forgejo-Event-Type"), ("pull_request_sync", "X-Gitea-Event-Type")):
        assert (await taken.deliver({**signed(body, ""), name: kind}, body)).status == 202
    assert taken.purged == [("alice", "blog")] * 2


async def test_other_events_are_taken_and_mean_nothing() -> None:
    taken = Taken()
    body = json.dumps({"repository": {"full_name": "alice/blog"}}).encode()
    assert (await taken.deliver(signed(body, "issues"), body)).status == 202
    assert taken.purged == []
    for event in ("push", "create", "delete", "repository"):
        await taken.deliver(signed(body, event), body)
    assert taken.purged == [("alice", "blog")] * 4


async def test_a_forge_that_tells_of_many_pushes_in_one_moment_is_heard() -> None:
    taken = Taken()
    body = json.dumps({"repository": {"full_name": "alice/blog"}}).encode()
    headers = {**signed(body), "Content-Length": str(len(body))}
    assert (await taken.deliver(headers, body)).status == 202
    open_ = [taken.webhook.delivery(request(headers)) for _ in range(300)]
    assert all(isinstance(each, Delivery) for each in open_)
    large = {**headers, "Content-Length": str(LARGEST)}
    taken_large = [taken.webhook.delivery(request(large)) for _ in range(MOST_AT_ONCE // LARGEST)]
    assert [isinstance(each, Delivery) for each in taken_large] == [True] * 3 + [False]


async def test_large_deliveries_are_read_one_at_a_time_and_senders_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"repository": {"full_name": "alice/blog"}, "x": "y" * 70_000}).encode()
    order: list[str] = []
    running: list[int] = [0, 0]  # now, and at most
    read = Delivery.read

    def noted(delivery: Delivery, body: bytearray) -> Event | None:
        running[0] += 1
        running[1] = max(running)
        order.append(delivery.visitor)
        found = read(delivery, body)
        running[0] -= 1
        return found

    monkeypatch.setattr(Delivery, "read", noted)
    taken = Taken()
    visitors = ["192.0.2.1"] * 12 + ["192.0.2.2"]
    for visitor in set(visitors):  # who signed before
        taken.webhook._known.put(visitor, None)
    open_: list[Delivery] = []
    for visitor in visitors:
        delivery = taken.webhook.delivery(request({**signed(body), "Content-Length": str(len(body))}, visitor=visitor))
        assert isinstance(delivery, Delivery)
        for chunk in (body, b""):
            delivery.take(chunk)
        open_.append(delivery)
    answers = await asyncio.gather(*(delivery.answer() for delivery in open_))
    assert [answer.status for answer in answers] == [202] * 13
    assert running == [0, 1]
    assert order.index("192.0.2.2") <= 4


LARGE = {"commits": [{"message": 'a "quoted" {brace} [x] \\', "added": ["x" * 50] * 40, "n": -1.5e3}] * 60}
PAYLOADS: list[dict[str, Any]] = [
    {"repository": {"full_name": "Alice/Blog", "x": {"full_name": "no/no"}}, "action": "opened"},
    {"action": "opened", "repository": {"full_name": "Alice/Blog"}},
    {"action": 'with "quotes" \\ and {', "head": {"repository": {"full_name": "no/no"}, "action": "no"}},
    {"repository": {"full_name": "Alice/Blog", "description": '}, "repository": {"full_name": "no/no"}'}},
    {"repository": "text", "action": {"deep": [[[]]]}},
    {"repository": None, "action": None},
    {"text": '"repository": {"full_name": "no/no"}'},
    {"repository": {"full_name": "no slash"}},
    {},
]


@pytest.mark.parametrize("indent", [None, 1, 7])
@pytest.mark.parametrize("payload", PAYLOADS, ids=str)
def test_of_a_large_body_is_read_what_would_be_read_of_a_small_one(payload: dict[str, Any], indent: int | None) -> None:
    expected = event_in(json.dumps(payload).encode())
    for document in (LARGE | payload, payload | LARGE, {"first": 1, **LARGE, **payload, "last": [LARGE]}):
        large = json.dumps(document, indent=indent).encode()
        assert len(large) > READ_WHOLE
        assert event_in(large) == expected


@pytest.mark.parametrize("tail", [b"", b'"', b'{"repository', b'"repository":', b"}}}}", b"\\"])
def test_what_is_no_json_says_nothing_however_large_it_is(tail: bytes) -> None:
    for head in (b"", b"[", b'{"repository": {', b'{"x": "', b'{"repository": '):
        assert event_in(head + b" " * READ_WHOLE + tail) == Event(None, "")


def test_nothing_large_is_read_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """To read JSON holds the interpreter's lock until it is done: the loop would wait for a thread that did it."""
    sizes: list[int] = []
    loads, decode = json.loads, json.JSONDecoder.raw_decode

    def loaded(text: bytes) -> Any:
        sizes.append(len(text))
        return loads(text)

    def decoded(decoder: json.JSONDecoder, text: str, at: int = 0) -> Any:
        sizes.append(len(text))
        return decode(decoder, text, at)

    repository = {"repository": {"full_name": "alice/blog"}}
    large = json.dumps({**LARGE, **repository, "y": [LARGE] * 20, "action": "opened"}).encode()
    too_large = json.dumps({"repository": {"full_name": "alice/blog", "description": "x" * READ_WHOLE}}).encode()
    monkeypatch.setattr(json, "loads", loaded)
    monkeypatch.setattr(json.JSONDecoder, "raw_decode", decoded)
    assert event_in(large) == Event(("alice", "blog"), "opened")
    assert event_in(too_large) == Event(None, "")
    assert max(sizes) <= READ_WHOLE


async def test_only_so_many_are_read_at_once_and_each_makes_room_when_it_is_over() -> None:
    taken = Taken()
    body = json.dumps({"repository": {"full_name": "Alice/Blog"}}).encode()
    assert (await taken.deliver(signed(body), body)).status == 202  # from now on, this address is known
    open_ = [taken.webhook.delivery(request(signed(body))) for _ in range(MOST_AT_ONCE // LARGEST)]
    assert all(isinstance(each, Delivery) for each in open_)
    refused = taken.webhook.delivery(request(signed(body)))
    assert isinstance(refused, Answer)
    assert (refused.status, dict(refused.headers)[b"Retry-After"]) == (503, b"1")
    first = open_[0]
    assert isinstance(first, Delivery)
    first.end()
    first.end()  # twice is once
    assert (await taken.deliver(signed(body), body)).status == 202
    assert isinstance(taken.webhook.delivery(request(signed(body))), Delivery)
    assert isinstance(taken.webhook.delivery(request(signed(body))), Answer)


async def test_strangers_who_are_silent_hold_no_door_shut(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Taken()
    body = json.dumps({"repository": {"full_name": "Alice/Blog"}}).encode()
    silent: list[Delivery] = []
    for number in range(40):  # a byte each, from as many addresses, and then nothing
        delivery = taken.webhook.delivery(request(signed(b"x"), visitor=f"198.51.100.{number}"))
        assert isinstance(delivery, Delivery)
        delivery.take(b"{")
        silent.append(delivery)
    assert (await taken.deliver(signed(body), body)).status == 202
    answers = await asyncio.gather(*(delivery.answer() for delivery in silent[:20]))
    assert {answer.status for answer in answers} == {503}
    assert isinstance(taken.webhook.delivery(request(signed(body), visitor="198.51.100.39")), Answer)
    monkeypatch.setattr(webhook, "_SILENT", 0.0)
    assert isinstance(taken.webhook.delivery(request(signed(body), visitor="198.51.100.39")), Delivery)


async def test_a_stranger_has_a_megabyte_and_who_signed_before_has_more() -> None:
    taken = Taken()
    large = json.dumps({"repository": {"full_name": "alice/blog"}, "x": "y" * 2_000_000}).encode()
    small = json.dumps({"repository": {"full_name": "alice/blog"}}).encode()
    assert (await taken.deliver(signed(large), large)).status == 413
    assert (await taken.deliver(signed(small), small)).status == 202
    assert (await taken.deliver(signed(large), large)).status == 202


async def test_a_body_that_grows_too_large_is_refused_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "LARGEST_OF_STRANGERS", 5000)
    taken = Taken()
    body = json.dumps({"repository": {"full_name": "alice/blog"}, "x": "y" * 6000}).encode()
    assert (await taken.deliver(signed(body), body)).status == 413
    assert (await taken.deliver({**signed(b""), "Content-Length": "5001"}, b"")).status == 413
    assert taken.purged == []


@pytest.mark.parametrize("unit", [b"a=b&", b"&", b"payload=%41&", b"%41", b"+", b"%"])
async def test_a_form_that_nobody_signed_takes_little_more_room_than_it_has(unit: bytes) -> None:
    body = b"payload=" + unit * (1_000_000 // len(unit))
    taken = Taken()
    tracemalloc.start()
    try:
        answer = await taken.deliver({**signed(b"{}"), "Content-Type": "application/x-www-form-urlencoded"}, body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status == 403
    assert most < 8 * len(body)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 65_534, 65_535, 65_536, 65_537, 200_000])
async def test_a_form_says_what_json_would(size: int) -> None:
    document = json.dumps({"x": "y" * size + " +&=%\u00e9" * 20_000, "repository": {"full_name": "alice/blog"}})
    body = urlencode({"first": "payload=1", "payload": document, "last": "2"}).encode()
    taken = Taken()
    headers = {**signed(document.encode()), "Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert (await taken.deliver(headers, body)).status == 202
    assert taken.purged == [("alice", "blog")]


async def test_a_body_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_STRANGERS_PATIENCE", 0.05)
    taken = Taken()
    delivery = taken.webhook.delivery(request(signed(b"")))
    assert isinstance(delivery, Delivery)
    delivery.take(b"{")
    assert (await delivery.answer()).status == 408


ELSEWHERE = [
    ("GET", HOST, "/.pages/webhook"),
    ("POST", "alice.pages.test", "/.pages/webhook"),
    ("POST", "evil.test", "/.pages/webhook"),
    ("POST", HOST, "/.pages/webhook/"),
    ("POST", HOST, "/"),
]


@pytest.mark.parametrize(("method", "host", "path"), ELSEWHERE)
def test_only_a_post_to_its_address_is_a_delivery(method: str, host: str, path: str) -> None:
    assert not Taken().webhook.takes(request({}, method, host, path))


def test_its_path_can_be_chosen_and_without_a_secret_there_is_none() -> None:
    assert Taken().webhook.takes(request({}, host=f"{HOST}:8080"))
    assert Taken(webhookPath="/hooks/x").webhook.takes(request({}, path="/hooks/x"))
    assert not Taken(webhookPath="/hooks/x").webhook.takes(request({}))
    assert not Taken(webhookSecret="").webhook.takes(request({}))


WRITTEN = by_first(
    {
        "POST": {
            "/alice/blog.git/git-receive-pack": ("alice", "blog"),
            "/Alice/Blog/git-receive-pack": ("alice", "blog"),
            "/alice/blog/settings": None,
            "/user/login": None,
            "/api/v1/markdown": None,
            "/x/alice/blog.git/git-receive-pack": None,
            "/alice/blog.git/git-upload-pack": None,
            "/alice/blog/git-upload-pack?x=1": None,
            "/alice/blog.git/info/lfs/objects/batch": None,
            "/alice": None,
            "/": None,
            "/../blog": None,
            "/a%20b/c": None,
        },
        "GET": {"/api/v1/repos/alice/blog": None, "/alice/blog.git/info/refs?service=git-receive-pack": None},
        "PATCH": {"/api/v1/repos/alice/blog": ("alice", "blog")},
        "DELETE": {"/api/v1/repos/alice/blog?x=/y/z": ("alice", "blog")},
        "PUT": {"/api/v1/repos/alice/blog/contents/a.txt": ("alice", "blog")},
        "HEAD": {"/alice/blog": None},
    }
)


@pytest.mark.parametrize(("method", "path", "key"), WRITTEN)
def test_a_write_to_forgejo_says_which_repository_it_may_have_changed(method: str, path: str, key: Key | None) -> None:
    assert written(method, path) == key
