# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Previews at several proxies that share a Redis: what one is told of, all know; one tells; Redis opens nothing."""

import json

from addon.preview.forge import Forge
from addon.preview.pull_requests import PullRequest
from addon.preview.settings import Token
from addon.shared import records
from tests.addon.preview.sites import Site
from tests.addon.shared.conftest import MakeNode
from tests.resp.servers import Server
from tests.waiting import until

TOKEN = "e7" * 20
OPTIONS = {"previewDomain": "preview.test", "previewTTL": "3650d"}
HOST = "pr-1--blog--alice.preview.test"
OWN = b"enabled: true\npreviews:\n  pulls: own\n"


async def test_a_pull_request_that_one_proxy_is_told_of_is_gone_from_all_and_told_of_once(
    node: MakeNode, redis: Server, blog: Site, forge: Forge
) -> None:
    blog.commit({".pages": OWN})
    head = blog.commit({"public/index.html": b"topic"}, branch="topic")
    pull = PullRequest(1, head, "topic")
    settings = forge.settings("alice/blog")
    settings.pulls.append(pull)
    forge.tokens[TOKEN] = Token("alice", frozenset({"write:repository"}))
    options = {**OPTIONS, "previewToken": TOKEN}
    first, second = await node(redis, **options).tracked(), await node(redis, **options).tracked()
    for each in (first, second):
        assert (await each.get(HOST, "/")).body == b"topic"
        await each.settled()
    assert (await second.get(HOST, "/")).at_once
    await until(lambda: len(settings.statuses.get(head, [])) >= 2, "telling")
    pull.close()
    await first.library.purge(("alice", "blog"))
    for each in (first, second):
        await each.comes_to(404, HOST, "/")
    assert [status["state"] for status in settings.statuses[head]] == ["pending", "success"]


async def test_a_record_that_nobody_signed_opens_no_previews(
    node: MakeNode, redis: Server, blog: Site, forge: Forge
) -> None:
    plain = blog.head() or ""
    head = blog.commit({"public/index.html": b"topic"}, branch="topic")
    forge.settings("alice/blog").pulls.append(PullRequest(1, head, "topic", flow=1))
    first = await node(redis, **OPTIONS).tracked()
    assert (await first.get("alice", "/blog/")).status == 200
    assert (await first.get(HOST, "/")).status == 404
    await first.settled()
    name = records.site_key(("alice", "blog"), plain)
    record = redis.ask("GET", name)
    assert isinstance(record, bytes)
    told = json.loads(record)
    told["site"]["pages"]["preview_pulls"] = "all"
    told.pop("sig", None)
    redis.ask("SET", name, json.dumps(told))
    second = await node(redis, **OPTIONS).tracked()
    assert (await second.get("alice", "/blog/")).status == 200
    assert (await second.get(HOST, "/")).status == 404
