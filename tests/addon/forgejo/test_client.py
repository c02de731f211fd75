# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Repositories, the token and branches, asked of a forge over real git objects, and how many calls they take."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from addon.forgejo.call_kinds import KINDS
from addon.forgejo.client import (
    Access,
    Forgejo,
    NotFound,
    Refused,
)
from addon.forgejo.errors import Unreachable
from addon.preview.forge import Forge
from addon.preview.settings import Token
from tests.addon.conftest import Connect, StartForge
from tests.addon.forgejo.lying_forge import blog_tree, streamed
from tests.addon.preview.running import TOKENS
from tests.addon.preview.running import start_forge as start_over
from tests.addon.preview.sites import Site
from tests.clock import Clock

# Repositories


async def test_a_repository_is_told_in_its_own_case(forge: Forge, connect: Connect) -> None:
    repository = await connect(forge).repository("ALICE", "mixed.case_1")
    assert (repository.owner, repository.name, repository.id) == ("alice", "Mixed.Case_1", 6)
    assert (repository.default_branch, repository.object_format) == ("main", "sha1")
    assert repository.public
    assert repository.access is Access.ANONYMOUS
    assert not repository.empty
    assert not repository.archived
    assert repository.updated_at is not None
    assert repository.updated_at > 1_700_000_000


@pytest.mark.parametrize(
    ("owner", "name", "field", "value"),
    [
        ("alice", "empty", "empty", True),
        ("alice", "archived", "archived", True),
        ("alice", "pagesbranch", "default_branch", "pages"),
        ("alice", "sixtyfour", "object_format", "sha256"),
        ("al.ice", "site", "owner", "al.ice"),
        ("alice", ".profile", "name", ".profile"),
    ],
)
async def test_what_a_repository_is(
    forge: Forge, connect: Connect, owner: str, name: str, field: str, value: object
) -> None:
    assert getattr(await connect(forge).repository(owner, name), field) == value


@pytest.mark.parametrize(
    ("asked", "is_now", "calls"),
    [
        (("alice", "oldname"), ("alice", "newname"), 2),
        (("alice", "moving"), ("acme", "moving"), 2),
        (("oldie", "site"), ("newbie", "site"), 2),
        (("OLDIE", "Site"), ("newbie", "site"), 2),
        (("newbie", "site"), ("newbie", "site"), 1),
    ],
)
async def test_renames_are_followed(
    forge: Forge, connect: Connect, asked: tuple[str, str], is_now: tuple[str, str], calls: int
) -> None:
    forgejo = connect(forge)
    repository = await forgejo.repository(*asked)
    assert (repository.owner, repository.name) == is_now
    assert forgejo.calls == len(forge.calls) == calls


async def test_a_renamed_owner_of_a_renamed_repository_is_followed(start_forge: StartForge, connect: Connect) -> None:
    forge = start_forge(renames={"oldie": "newbie", "newbie/blog": "newbie/site"})
    repository = await connect(forge).repository("oldie", "blog")
    assert (repository.owner, repository.name) == ("newbie", "site")


async def test_what_was_renamed_since_it_was_asked_for_is_followed(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "nopublic")
    branch = await forgejo.branch(repository, "main")
    forge.rename("alice/nopublic", "alice/nolonger")
    try:
        assert await forgejo.branch(repository, "main") == branch
        tree = await forgejo.tree(repository, branch.commit, max_entries=100)
        entry = tree.entries[-1]
        assert len(await forgejo.blobs(repository, [(entry.id, entry.size)])) == 1
        async with forgejo.files.stream(
            repository, path=entry.path, commit=tree.commit, id=entry.id, size=entry.size
        ) as chunks:
            assert len(b"".join([chunk async for chunk in chunks])) == entry.size
    finally:
        forge.rename("alice/nolonger", "alice/nopublic")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("nobody", "site"),
        ("alice", "absent"),
        ("alice", "blog.git"),
        ("alice", "secret"),
        ("limited", "site"),
        ("hidden", "site"),
    ],
)
@pytest.mark.parametrize("token", [None, "alice", "bob", "0" * 40])
async def test_what_not_everybody_may_see_is_not_there(
    forge: Forge, connect: Connect, owner: str, name: str, token: str | None
) -> None:
    with pytest.raises(NotFound) as caught:
        await connect(forge, token).repository(owner, name)
    assert caught.value.certain
    assert caught.value.status == 404
    assert [call.credentials for call in forge.calls] == [False]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a%2Fb", "a\\b", "a b", "a?b", "a#b", "a\nb", "a\0b", "é", "a" * 101, "a;b", "a:b", "a\n"],
)
async def test_a_name_that_cannot_be_costs_no_call(forge: Forge, connect: Connect, name: str) -> None:
    forgejo = connect(forge)
    for owner, repository in ((name, "site"), ("alice", name)):
        with pytest.raises(NotFound):
            await forgejo.repository(owner, repository)
    assert not forge.calls


# The token


@pytest.mark.parametrize(("owner", "name"), [("alice", "secret"), ("limited", "site")])
async def test_a_private_repository_is_shown_to_the_token_where_that_is_wanted(
    forge: Forge, connect: Connect, owner: str, name: str
) -> None:
    forgejo = connect(forge, "alice")
    repository = await forgejo.repository(owner, name, allow_token_private=True)
    assert not repository.public
    assert repository.access is Access.TOKEN
    assert [call.credentials for call in forge.calls] == [False, True]
    branch = await forgejo.branch(repository, "main")
    tree = await forgejo.tree(repository, branch.commit, max_entries=10)
    blobs = await forgejo.blobs(repository, [(entry.id, entry.size) for entry in tree.entries])
    assert len(blobs) == 2
    assert [call.credentials for call in forge.calls] == [False] + [True] * 4


async def test_a_public_repository_never_sees_the_token(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge, "alice")
    repository = await forgejo.repository("alice", "blog", allow_token_private=True)
    await forgejo.tree(repository, (await forgejo.branch(repository, "main")).commit, max_entries=100)
    assert repository.public
    assert [call.credentials for call in forge.calls] == [False] * 3


async def test_without_a_token_a_private_repository_is_certainly_not_there(forge: Forge, connect: Connect) -> None:
    with pytest.raises(NotFound) as caught:
        await connect(forge).repository("alice", "secret", allow_token_private=True)
    assert caught.value.certain


@pytest.mark.parametrize("token", ["0" * 40, "noscope"])
async def test_a_refused_token_finds_nothing_and_ends_what_was_known(
    forge: Forge, connect: Connect, token: str
) -> None:
    forgejo = connect(forge, token)
    with pytest.raises(NotFound) as caught:
        await forgejo.repository("alice", "secret", allow_token_private=True, known=False)
    assert not caught.value.certain
    with pytest.raises(Refused):
        await forgejo.repository("alice", "secret", allow_token_private=True)
    assert (await forgejo.repository("alice", "blog", allow_token_private=True)).public


async def test_a_refused_token_is_said_once_and_left_alone_for_a_minute(
    forge: Forge, connect: Connect, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    forgejo = connect(forge, "0" * 40, clock=clock)
    for _ in range(3):
        with pytest.raises(NotFound):
            await forgejo.repository("alice", "secret", allow_token_private=True, known=False)
    assert [call.credentials for call in forge.calls] == [False, True, False, False]
    clock.now += 61
    forge.tokens["0" * 40] = Token("alice")
    assert not (await forgejo.repository("alice", "secret", allow_token_private=True)).public
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 2
    assert "refuses the token" in told[0]
    assert "accepts the token again" in told[1]
    assert "0000" not in caplog.text


async def test_in_sign_in_mode_public_sites_are_read_with_the_token(
    start_forge: StartForge, connect: Connect, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    forge = start_forge(require_sign_in=True)
    forgejo = connect(forge, "bob", clock=clock)
    repository = await forgejo.repository("alice", "blog")
    assert repository.public
    assert repository.access is Access.TOKEN
    assert [call.credentials for call in forge.calls] == [False, True]
    branch = await forgejo.branch(repository, "main")
    tree = await forgejo.tree(repository, branch.commit, max_entries=100)
    entries = {entry.path: entry for entry in tree.entries}
    index = entries["public/index.html"]
    assert await forgejo.blobs(repository, [(index.id, index.size)])
    assert (
        await streamed(forgejo, repository, tree.commit, entries["public/files/bad\ufffd.txt"]) == b"not utf-8 name\n"
    )
    assert await forgejo.version() == "16.0.0+gitea-1.22.0"
    limited = await forgejo.repository("limited", "site")
    assert not limited.public
    with pytest.raises(NotFound):
        await forgejo.repository("alice", "secret")
    assert [call.credentials for call in forge.calls if "/version" not in call.target] == [False] + [True] * 7
    forge.policy.require_sign_in = False
    clock.now += 61
    assert (await forgejo.repository("alice", "blog")).access is Access.ANONYMOUS
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "refuses anonymous calls" in told[0]
    assert "anonymous calls again" in told[1]


@pytest.mark.parametrize("token", [None, "0" * 40, "noscope"])
async def test_in_sign_in_mode_without_a_good_token_everything_is_refused(
    start_forge: StartForge, connect: Connect, token: str | None
) -> None:
    forge = start_forge(require_sign_in=True)
    forgejo = connect(forge, token)
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            await forgejo.repository("alice", "blog")
        assert caught.value.status == 403


async def test_a_site_read_with_the_token_goes_on_without_it(start_forge: StartForge, connect: Connect) -> None:
    forge = start_forge(require_sign_in=True)
    forgejo = connect(forge, "alice")
    repository = await forgejo.repository("alice", "blog")
    private = await forgejo.repository("alice", "secret")
    del forge.tokens[TOKENS["alice"]]
    forge.policy.require_sign_in = False
    assert (await forgejo.branch(repository, "main")).name == "main"
    with pytest.raises(Refused):
        await forgejo.branch(private, "main")


async def test_what_became_private_is_gone_for_everybody(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge, "alice")
    repository = await forgejo.repository("alice", "nopages")
    forge.settings("alice/nopages").private = True
    with pytest.raises(NotFound):
        await forgejo.branch(repository, "main")


# Branches


@pytest.mark.parametrize("name", ["main", "dev", "feature/x", "same"])
async def test_a_branch_is_its_newest_commit(forge: Forge, connect: Connect, repositories: Path, name: str) -> None:
    forgejo = connect(forge)
    branch = await forgejo.branch(await forgejo.repository("alice", "blog"), name)
    assert (branch.name, branch.commit) == (name, Site(repositories / "alice" / "blog.git").head(name))
    assert branch.timestamp is not None
    assert branch.timestamp % 86_400 == 1_780_000_000 % 86_400


@pytest.mark.parametrize(
    ("repository", "name"), [("blog", "absent"), ("blog", "MAIN"), ("blog", "v1"), ("empty", "main")]
)
async def test_a_branch_that_is_not_there(forge: Forge, connect: Connect, repository: str, name: str) -> None:
    forgejo = connect(forge)
    with pytest.raises(NotFound):
        await forgejo.branch(await forgejo.repository("alice", repository), name)


NO_BRANCHES = (
    *("", ".", "..", "a..b", "../../x", "a/../b", "a//b", "/a", "a/", ".a", "a/.b", "a.lock", "a.lock/b", "a.", "a@{b"),
    *("a b", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", "a\\b", "a\0b", "a\nb", "a\x7f", "-a", "\ud800", "a" * 2000),
)


@pytest.mark.parametrize("name", NO_BRANCHES)
async def test_a_branch_that_git_would_not_have_costs_no_call(forge: Forge, connect: Connect, name: str) -> None:
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "blog")
    with pytest.raises(NotFound):
        await forgejo.branch(repository, name)
    assert forgejo.calls == 1


@pytest.mark.parametrize("name", ["a#b", "a%b", "a+b", "a&b=c", "f/é", "日本", "a%2Fb", "@", "a;b", "a,b"])
async def test_branches_of_odd_names_are_asked_for_as_they_are(tmp_path: Path, connect: Connect, name: str) -> None:
    site = Site(tmp_path / "alice" / "odd.git", {"a": b"a"})
    commit = site.commit({"b": b"b"}, branch=name, parent=site.head())
    forge = start_over(tmp_path)
    try:
        forgejo = connect(forge)
        assert (await forgejo.branch(await forgejo.repository("alice", "odd"), name)).commit == commit
    finally:
        forge.stop()


# Everything else


async def test_the_version(forge: Forge, connect: Connect) -> None:
    assert await connect(forge).version() == "16.0.0+gitea-1.22.0"


async def test_calls_are_counted_by_kind_and_clocks_are_compared(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    long_ago = [("Content-Type", "application/json"), ("Date", "Tue, 15 Nov 1994 08:12:31 GMT")]
    with forge.fault("version", status=200, headers=long_ago, body=b'{"version":"1"}'):
        await forgejo.version()
    assert forgejo.clock_skew is not None
    assert forgejo.clock_skew > 1e9
    with forge.fault("version", drop=True), pytest.raises(Unreachable):
        await forgejo.version()
    with pytest.raises(NotFound):
        await forgejo.repository("alice", "nothing")
    told = {kind: each["outcomes"] for kind, each in forgejo.meter.collect().items() if isinstance(each, dict)}
    assert told["version"] == {"2xx": 1, "no answer": 1}
    assert told["repository"]["4xx"] >= 1
    assert set(told) <= KINDS


@pytest.mark.parametrize("url", ["", "ftp://x", "http://a:b@c", "http://x/?a=b", "http://x/#a", "forge.example"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Forgejo(url)


@pytest.mark.parametrize("token", ["", " a", "a ", "a\nb", "seekrit\r\n", "é"])
def test_a_token_that_is_none_is_refused_unquoted(token: str) -> None:
    with pytest.raises(ValueError, match=r"^(?!.*seekrit).*visible ASCII"):
        Forgejo("http://forge.example", token)


async def test_all_of_it_under_eager_tasks_too(forge: Forge, connect: Connect) -> None:
    """mitmproxy makes every task start at once where Python can (3.12 and newer)."""
    loop = asyncio.get_running_loop()
    factory = getattr(asyncio, "eager_task_factory", None)
    loop.set_task_factory(factory)
    try:
        forgejo = connect(forge)
        repository, tree = await blog_tree(forgejo)
        many = await forgejo.repository("alice", "many")
        large = await forgejo.tree(many, (await forgejo.branch(many, "main")).commit, max_entries=5000)
        assert len(large.entries) == 2502
        blobs = await forgejo.blobs(repository, [(entry.id, entry.size) for entry in tree.entries])
        assert len(blobs) == 48
        found = await asyncio.gather(*(forgejo.repository("alice", "blog") for _ in range(40)))
        assert {one.name for one in found} == {"blog"}
    finally:
        loop.set_task_factory(None)
