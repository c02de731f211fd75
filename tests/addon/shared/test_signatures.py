# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who can write to Redis can close a site, never open one: what says who may see it is signed, or asked of Forgejo."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addon.preview.forge import Forge
from addon.settings.schema import Settings
from addon.shared.signatures import RecordKey, Signature
from tests.addon.preview.sites import Site
from tests.addon.shared.conftest import FIRST, MakeNode
from tests.addon.shared.nodes import Node
from tests.resp.servers import Server

REPO, REF = "~pages:repo:alice/blog", "~pages:ref:alice/blog@main"
LOCKED = f"enabled: true\npassword: {hashlib.sha256(b'word').hexdigest()}\n".encode()
OPEN = b"enabled: true\n"


def site_key(commit: str | None) -> str:
    return f"~pages:site:alice/blog@{commit}"


def value(redis: Server, name: str) -> bytes:
    found = redis.ask("GET", name)
    assert isinstance(found, bytes), name
    return found


async def warm(each: Node) -> None:
    await each.get("alice", "/blog/")
    await each.settled()
    await each.aclose()


Change = Callable[[dict[str, Any]], dict[str, Any]]


def without_password(site: dict[str, Any]) -> dict[str, Any]:
    pages = {**site["site"]["pages"], "password": ""}
    return {**site, "site": {**site["site"], "pages": pages}}


@pytest.mark.parametrize("signature", ["kept", "none", "another key's", "zeros", "of another record"])
@pytest.mark.parametrize("purged", [False, True])
async def test_a_record_without_the_password_opens_nothing(
    node: MakeNode, redis: Server, blog: Site, signature: str, purged: bool, tmp_path: Path
) -> None:
    commit = blog.commit({".pages": LOCKED})
    await warm(node(redis))
    name = site_key(commit)
    record = without_password(json.loads(value(redis, name)))
    other = RecordKey(b"another key")
    if signature != "kept":
        kept = record.pop("sig")
        data = json.dumps(record, separators=(",", ":")).encode()
        if signature == "another key's":
            data = other.signed(name, data)
        elif signature == "zeros":
            data = data[:-1] + f',"sig":"{kept[:8]}:{"0" * 64}"}}'.encode()
        elif signature == "of another record":
            data = data[:-1] + b',"sig":"' + json.loads(value(redis, REPO))["sig"].encode() + b'"}'
    else:
        data = json.dumps(record, separators=(",", ":")).encode()
    redis.ask("SET", name, data, "KEEPTTL")
    for _ in range(2):  # a second process does not have it of the first
        reader = await node(redis).tracked()
        if purged:
            await reader.looks.purge(("alice", "blog"))
        page = await reader.get("alice", "/blog/")
        assert (page.status, FIRST in page.body) == (401, False)
        await reader.settled()
        page = await reader.get("alice", "/blog/")
        assert (page.status, FIRST in page.body) == (401, False)
        await reader.aclose()


async def test_a_branch_that_is_set_back_to_before_the_lock_opens_nothing(
    node: MakeNode, redis: Server, blog: Site
) -> None:
    before = blog.head()
    await warm(node(redis))
    open_site, open_ref = value(redis, site_key(before)), value(redis, REF)
    blog.commit({".pages": LOCKED})
    running = await node(redis).tracked()
    await running.looks.purge(None)
    assert (await running.get("alice", "/blog/")).status == 401
    await running.settled()
    by_hand = json.dumps({"v": 1, "commit": before}).encode()
    changed = json.dumps({**json.loads(value(redis, REF)), "commit": before}).encode()
    for ref in (by_hand, changed, open_ref.replace(b'"life"', b'"life" ')):
        redis.ask("SET", site_key(before), open_site)
        redis.ask("SET", REF, ref, "KEEPTTL")
        for each in (running, node(redis)):
            for _ in range(3):
                assert (await each.get("alice", "/blog/")).status == 401
                await each.settled()


async def test_a_private_repository_is_not_made_public_by_hand(node: MakeNode, redis: Server, forge: Forge) -> None:
    await warm(node(redis))
    record = json.loads(value(redis, REPO))
    assert record["public"] is True
    forge.settings("alice/blog").private = True
    for reader in (node(redis), node(redis, servePrivateRepositories=True)):
        record.pop("sig", None)
        redis.ask("SET", REPO, json.dumps(record))
        assert (await reader.get("alice", "/blog/")).status == 404


async def test_what_closes_is_believed_from_any_hand(node: MakeNode, redis: Server, forge: Forge) -> None:
    running = await node(redis).tracked()
    assert (await running.get("alice", "/blog/")).status == 200
    await running.settled()
    redis.ask("SET", REPO, json.dumps({"v": 1, "fault": "absent"}), "KEEPTTL")
    forge.forget_calls()
    await running.comes_to(404)


async def test_a_cold_process_needs_no_forgejo_for_what_is_signed(
    node: MakeNode, redis: Server, forge: Forge, blog: Site, tmp_path: Path
) -> None:
    blog.commit({".pages": LOCKED})
    options = {"authSecretKey": "one key for all of them"}
    await warm(node(redis, **options, stateDir=str(tmp_path / "one")))
    forge.forget_calls()
    other = node(redis, **options, stateDir=str(tmp_path / "two"))
    assert (await other.get("alice", "/blog/")).status == 401
    assert forge.count() == 0


async def test_proxies_without_a_common_key_ask_forgejo_and_leave_each_other_alone(
    node: MakeNode, redis: Server, forge: Forge, blog: Site, tmp_path: Path
) -> None:
    nodes = [await node(redis, stateDir=str(tmp_path / f"state {number}")).tracked() for number in range(3)]
    for each in nodes:
        assert (await each.get("alice", "/blog/")).body == FIRST
        await each.settled()
    forge.forget_calls()
    writes = value(redis, REF), value(redis, REPO)
    for _ in range(5):
        for each in nodes:
            assert (await each.get("alice", "/blog/")).body == FIRST
            await each.settled()
    assert forge.count() == 0
    assert (value(redis, REF), value(redis, REPO)) == writes, "each writes over what the others wrote"
    # A push is seen by all, and each asks for itself, once.
    blog.commit({"public/index.html": b"Second"})
    await nodes[0].looks.purge(("alice", "blog"))
    for each in nodes:
        await each.comes_to(b"Second")
        await each.settled()
    looks = forge.count("/branches/")
    assert looks <= 2 * len(nodes)
    for _ in range(5):
        for each in nodes:
            assert (await each.get("alice", "/blog/")).body == b"Second"
            await each.settled()
    assert forge.count("/branches/") == looks


async def test_an_older_page_set_by_hand_is_shown_where_nothing_is_locked(
    node: MakeNode, redis: Server, blog: Site
) -> None:
    before = blog.head()
    blog.commit({"public/index.html": b"Second"})
    running = await node(redis).tracked()
    assert (await running.get("alice", "/blog/")).body == b"Second"
    await running.settled()
    redis.ask("SET", REF, json.dumps({"v": 1, "commit": before}), "KEEPTTL")
    await running.comes_to(FIRST)


async def test_an_old_record_that_is_put_back_is_as_old_as_it_is(
    node: MakeNode, redis: Server, forge: Forge, blog: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with monkeypatch.context() as past:
        past.setattr(time, "time", lambda: now - 5000)
        await warm(node(redis))
    blog.commit({".pages": LOCKED})
    for name in (REPO, REF):
        redis.ask("SET", name, value(redis, name), "PX", "3660000")
    assert (await node(redis).get("alice", "/blog/")).status == 401


def test_a_signature_is_of_one_key_one_name_and_every_byte() -> None:
    key, data = RecordKey(b"k" * 32), b'{"v":1,"commit":"x"}'
    signed = key.signed("name", data)
    assert json.loads(signed).keys() == {"v", "commit", "sig"}
    assert key.whose("name", signed) is Signature.OURS
    assert RecordKey(b"k" * 32).whose("name", signed) is Signature.OURS
    assert RecordKey(b"other").whose("name", signed) is Signature.OTHERS
    assert key.whose("other name", signed) is Signature.NONE
    assert key.whose("name", data) is Signature.NONE
    assert key.whose("name", b"") is Signature.NONE
    for at in range(len(signed)):
        changed = signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :]
        assert key.whose("name", changed) is not Signature.OURS, at
    assert "kkk" not in repr(key)


def test_the_key_of_records_is_none_that_redis_ever_sees(tmp_path: Path, redis: Server) -> None:
    mapping = {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:1", "stateDir": str(tmp_path)}
    settings = Settings.from_mapping(mapping, environ={})
    key = RecordKey.of(settings)
    assert (tmp_path / "records-key").stat().st_mode & 0o777 == 0o600
    assert RecordKey.of(settings).whose("n", key.signed("n", b"{}")) is Signature.OURS
    assert not (tmp_path / "login-key").exists()


async def test_a_state_dir_that_cannot_be_is_said_and_costs_no_page(
    node: MakeNode, redis: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    reader = node(redis, stateDir=str(tmp_path / "file"))
    assert (await reader.get("alice", "/blog/")).body == FIRST
    assert "ask Forgejo what Redis tells" in caplog.text
