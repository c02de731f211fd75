# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The questions to Forgejo, asked of a forge over real git objects: right answers, and how many calls they take."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from addon.forgejo import (
    Access,
    BadAnswer,
    BlobTooLarge,
    Forgejo,
    NotFound,
    Refused,
    Repository,
    TooManyFiles,
    Tree,
    TreeEntry,
)
from addon.lfs import LfsPointer, lfs_pointer
from addon.preview.forge import Forge
from addon.preview.settings import FORGEJO_11, GITEA, Flavour, Limits, Token
from tests.addon.scripted import always, eventually, http, scripted
from tests.forge.fixtures import LFS_OBJECT, make_repositories, noise, page
from tests.forge.running import TOKENS, recorded_forge, start_forge
from tests.forge.sites import Site

Start = Callable[..., Forge]
Connect = Callable[..., Forgejo]


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repositories")
    make_repositories(root)
    return root


@pytest.fixture
def start(repositories: Path) -> Iterator[Start]:
    """Starts the recorded forge with further options."""
    started: list[Forge] = []

    def begin(**options: Any) -> Forge:
        started.append(recorded_forge(repositories, **options))
        return started[-1]

    yield begin
    for forge in started:
        forge.stop()


@pytest.fixture
def forge(start: Start) -> Forge:
    return start()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes clients that are closed at the end."""
    made: list[Forgejo] = []

    def begin(forge: Forge, token: str | None = None, **options: Any) -> Forgejo:
        secret = TOKENS.get(token or "", token)
        made.append(Forgejo(forge.url, secret, **options))
        return made[-1]

    yield begin
    for forgejo in made:
        await forgejo.aclose()


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


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


async def test_a_renamed_owner_of_a_renamed_repository_is_followed(start: Start, connect: Connect) -> None:
    forge = start(renames={"oldie": "newbie", "newbie/blog": "newbie/site"})
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
        async with forgejo.stream(
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
    forge: Forge, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
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
    start: Start, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    forge = start(require_sign_in=True)
    clock = Clock()
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
    start: Start, connect: Connect, token: str | None
) -> None:
    forge = start(require_sign_in=True)
    forgejo = connect(forge, token)
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            await forgejo.repository("alice", "blog")
        assert caught.value.status == 403


async def test_a_site_read_with_the_token_goes_on_without_it(start: Start, connect: Connect) -> None:
    forge = start(require_sign_in=True)
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
    forge = start_forge(tmp_path)
    try:
        forgejo = connect(forge)
        assert (await forgejo.branch(await forgejo.repository("alice", "odd"), name)).commit == commit
    finally:
        forge.stop()


# Trees


async def blog_tree(forgejo: Forgejo) -> tuple[Repository, Tree]:
    repository = await forgejo.repository("alice", "blog")
    commit = (await forgejo.branch(repository, "main")).commit
    return repository, await forgejo.tree(repository, commit, max_entries=1000)


async def test_a_tree_has_files_and_links_and_nothing_else(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    _, tree = await blog_tree(forgejo)
    entries = {entry.path: entry for entry in tree.entries}
    assert tree.total == 59
    assert len(entries) == len(tree.entries) == 49
    assert entries["public/index.html"] == TreeEntry(
        "public/index.html", 0o100644, "a4c66ce92bd6f67f5ddfc4e98aeabbfb6dee5473", 151
    )
    assert entries["public/run.sh"].mode == 0o100755
    assert entries["public/link.html"].mode == 0o120000
    assert entries["public/big.dat"].size == 11 * 1024 * 1024
    assert entries["public/empty.txt"].size == 0
    assert entries["public/files/日本.html"].size == len(page("日本"))
    assert "public/files/bad\ufffd.txt" in entries
    assert "public/module" not in entries
    assert "public" not in entries
    assert forgejo.calls == 3


@pytest.mark.parametrize(
    ("limits", "flavour", "calls"),
    [
        ({}, None, 3),
        ({"default_git_trees_per_page": 100}, None, 26),
        ({"default_git_trees_per_page": 1264}, None, 3),
        ({"default_git_trees_per_page": 5000}, None, 3),
        ({}, GITEA, 3),
        ({"default_git_trees_per_page": 843}, GITEA, 3),
    ],
)
async def test_a_large_tree_comes_in_pages(
    start: Start, connect: Connect, repositories: Path, limits: dict[str, int], flavour: Flavour | None, calls: int
) -> None:
    options: dict[str, Any] = {} if flavour is None else {"flavour": flavour}
    forge = start(limits=Limits(**limits), **options)
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "many")
    commit = str(Site(repositories / "alice" / "many.git").head())
    tree = await forgejo.tree(repository, commit, max_entries=2528)
    assert forgejo.calls == 1 + calls
    assert (tree.total, len(tree.entries)) == (2528, 2502)
    assert [entry.path for entry in tree.entries[1:-1]] == [f"public/d{n // 100:02}/f{n:04}.txt" for n in range(2500)]
    pages = [page async for page in forgejo.tree_pages(repository, commit)]
    assert [entry for page in pages for entry in page] == tree.entries


async def test_who_has_seen_enough_of_a_tree_asks_for_no_more_pages(
    forge: Forge, connect: Connect, repositories: Path
) -> None:
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "many")
    async for entries in forgejo.tree_pages(repository, str(Site(repositories / "alice" / "many.git").head())):
        assert entries[0].path == ".pages"
        break
    assert forgejo.calls == 2


async def test_a_tree_of_too_many_entries_costs_one_call(forge: Forge, connect: Connect, repositories: Path) -> None:
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "many")
    with pytest.raises(TooManyFiles) as caught:
        await forgejo.tree(repository, str(Site(repositories / "alice" / "many.git").head()), max_entries=2527)
    assert caught.value.total == 2528
    assert forgejo.calls == 2


async def test_an_empty_tree_has_no_entries(tmp_path: Path, connect: Connect) -> None:
    commit = Site(tmp_path / "alice" / "void.git").commit({})
    forge = start_forge(tmp_path)
    try:
        forgejo = connect(forge)
        tree = await forgejo.tree(await forgejo.repository("alice", "void"), commit, max_entries=10)
        assert tree == Tree(commit, [], 0)
    finally:
        forge.stop()


@pytest.mark.parametrize("commit", ["1" * 40, "1" * 64])
async def test_a_commit_that_git_does_not_know_is_asked_for_twice(forge: Forge, connect: Connect, commit: str) -> None:
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "blog")
    with pytest.raises(NotFound) as caught:
        await forgejo.tree(repository, commit, max_entries=10)
    assert not caught.value.certain
    assert forgejo.calls == 3


async def test_a_commit_that_can_be_no_id_costs_no_call(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "blog")
    for commit in ("main", "1" * 39, "A" * 40, "../x", ""):
        with pytest.raises(NotFound):
            await forgejo.tree(repository, commit, max_entries=10)
    assert forgejo.calls == 1


async def test_names_that_come_out_alike_are_no_lie(tmp_path: Path, connect: Connect) -> None:
    site = Site(tmp_path / "alice" / "odd.git")
    commit = site.commit({b"public/\xfe.txt": b"one", b"public/\xff.txt": b"other", "public/z": b"z"})
    forge = start_forge(tmp_path)
    try:
        forgejo = connect(forge)
        repository = await forgejo.repository("alice", "odd")
        tree = await forgejo.tree(repository, commit, max_entries=10)
        assert [entry.path for entry in tree.entries] == ["public/z", "public/\ufffd.txt"]
        assert tree.total == 4
        assert await streamed(forgejo, repository, commit, tree.entries[1]) == b"one"
    finally:
        forge.stop()


# Blobs


@pytest.mark.parametrize(
    ("flavour", "limits", "calls"),
    [
        (None, {}, 1 + 1),  # two batches: the second is what did not fit into 8 MiB
        (None, {"max_response_items": 20}, 1 + 3),
        (None, {"max_response_items": 1}, 1 + 46),
        (FORGEJO_11, {}, 1 + 47),
        (GITEA, {}, 1 + 47),
    ],
)
async def test_all_blobs_of_a_site(
    start: Start, connect: Connect, flavour: Flavour | None, limits: dict[str, int], calls: int
) -> None:
    options: dict[str, Any] = {} if flavour is None else {"flavour": flavour}
    forgejo = connect(start(limits=Limits(**limits), **options))
    repository, tree = await blog_tree(forgejo)
    sizes = {entry.id: entry.size for entry in tree.entries if entry.path != "public/big.dat"}
    assert sizes["8486789f24a0de695de84a57dea2760189ef2765"] == 10 * 1024 * 1024
    before = forgejo.calls
    blobs = await forgejo.blobs(repository, list(sizes.items()))
    made = forgejo.calls - before
    assert list(blobs) == list(sizes)
    for blob_id, data in blobs.items():
        assert len(data) == sizes[blob_id]
        assert hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == blob_id
    assert len(sizes) == 48
    assert made == calls
    again = list(sizes.items())[:10]
    before = forgejo.calls
    assert await forgejo.blobs(repository, again) == {blob_id: blobs[blob_id] for blob_id, _ in again}
    if limits.get("max_response_items") != 1 and flavour is None:
        assert forgejo.calls - before == 1
    else:
        assert forgejo.calls - before == 10


async def test_one_blob_is_one_call_and_an_empty_one_none(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    entries = {entry.path: entry for entry in tree.entries}
    empty, index = entries["public/empty.txt"], entries["public/index.html"]
    assert await forgejo.blobs(repository, []) == {}
    assert await forgejo.blobs(repository, [(empty.id, 0)]) == {empty.id: b""}
    assert forgejo.calls == 3
    both = await forgejo.blobs(repository, [(empty.id, 0), (index.id, index.size), (index.id, index.size)])
    assert both == {empty.id: b"", index.id: page("Blog, second")}
    assert forgejo.calls == 4
    with pytest.raises(BadAnswer):
        await forgejo.blobs(repository, [("1" * 40, 0)])


@pytest.mark.parametrize("flavour", [None, FORGEJO_11, GITEA])
async def test_a_blob_above_the_limit_is_left_out_or_said(
    start: Start, connect: Connect, flavour: Flavour | None
) -> None:
    forgejo = connect(start(**({} if flavour is None else {"flavour": flavour})))
    repository, tree = await blog_tree(forgejo)
    entries = {entry.path: entry for entry in tree.entries}
    big, index = entries["public/big.dat"], entries["public/index.html"]
    found = await forgejo.blobs(repository, [(big.id, big.size), (index.id, index.size)])
    assert list(found) == [index.id]
    with pytest.raises(BlobTooLarge) as caught:
        await forgejo.blobs(repository, [(big.id, big.size)])
    assert caught.value.id == big.id
    before = forgejo.calls
    with pytest.raises(BlobTooLarge):
        await forgejo.blobs(repository, [("1" * 40, 2**40)])
    assert forgejo.calls == before


@pytest.mark.parametrize("count", [1, 2])
async def test_a_blob_that_git_does_not_know(forge: Forge, connect: Connect, count: int) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    wanted = [("1" * 40, 5), (tree.entries[0].id, tree.entries[0].size)][:count]
    with pytest.raises(NotFound) as caught:
        await forgejo.blobs(repository, wanted)
    assert not caught.value.certain
    assert forgejo.calls == 3 + 2


@pytest.mark.parametrize("wanted", [[("main", 5)], [("1" * 39, 5)], [("a" * 40, 5), ("a" * 40, 6)]])
async def test_blobs_are_asked_for_by_id_and_size(
    forge: Forge, connect: Connect, wanted: list[tuple[str, int]]
) -> None:
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "blog")
    with pytest.raises(ValueError, match="full ids"):
        await forgejo.blobs(repository, wanted)
    assert forgejo.calls == 1


async def test_a_repository_of_sha256_objects(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "sixtyfour")
    branch = await forgejo.branch(repository, "main")
    assert len(branch.commit) == 64
    tree = await forgejo.tree(repository, branch.commit, max_entries=10)
    entries = {entry.path: entry for entry in tree.entries}
    style, index = entries["public/a.css"], entries["public/index.html"]
    blobs = await forgejo.blobs(repository, [(style.id, style.size), (index.id, index.size)])
    assert blobs == {style.id: b"a{}\n", index.id: page("sha256")}
    assert await streamed(forgejo, repository, tree.commit, style) == b"a{}\n"


# Large files


async def streamed(
    forgejo: Forgejo, repository: Repository, commit: str, entry: TreeEntry, start: int = 0, end: int | None = None
) -> bytes:
    async with forgejo.stream(
        repository, path=entry.path, commit=commit, id=entry.id, size=entry.size, start=start, end=end
    ) as chunks:
        parts = [chunk async for chunk in chunks]
    assert all(0 < len(part) <= 64 * 1024 for part in parts)
    return b"".join(parts)


BIG = noise(11 * 1024 * 1024, 11)


@pytest.mark.parametrize(
    ("start_at", "end"),
    [(0, None), (0, len(BIG)), (0, 1), (1, None), (len(BIG) - 1, None), (5_000_000, 5_000_100), (65_536, 131_072)],
)
async def test_a_large_file_is_streamed_whole_and_in_parts(
    forge: Forge, connect: Connect, start_at: int, end: int | None
) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    entry = next(entry for entry in tree.entries if entry.path == "public/big.dat")
    assert await streamed(forgejo, repository, tree.commit, entry, start_at, end) == BIG[start_at:end]
    assert forgejo.calls == 4


@pytest.mark.parametrize(("start_at", "end"), [(-1, None), (5, 5), (6, 5), (0, 10**9), (10**9, None), (0, 0)])
async def test_a_range_that_is_none_is_the_callers_fault(
    forge: Forge, connect: Connect, start_at: int, end: int | None
) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    entry = next(entry for entry in tree.entries if entry.path == "public/big.dat")
    with pytest.raises(ValueError, match="no range"):
        await streamed(forgejo, repository, tree.commit, entry, start_at, end)


async def test_every_file_can_be_streamed_whatever_its_name(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    blobs = await forgejo.blobs(repository, [(entry.id, entry.size) for entry in tree.entries])
    for entry in tree.entries:
        if entry.id in blobs:
            assert await streamed(forgejo, repository, tree.commit, entry) == blobs[entry.id], entry.path
    assert await streamed(forgejo, repository, tree.commit, tree.entries[0], 1, 3) == blobs[tree.entries[0].id][1:3]
    bad = next(entry for entry in tree.entries if "\ufffd" in entry.path)
    assert await streamed(forgejo, repository, tree.commit, bad, 4, 9) == b"utf-8"


@pytest.mark.parametrize("path", ["public/absent", "public/post", "a\0", "../x", "/x", "a//b", "", "a/./b"])
async def test_a_file_that_is_not_there_is_not_streamed(forge: Forge, connect: Connect, path: str) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    with pytest.raises(NotFound):
        await streamed(forgejo, repository, tree.commit, TreeEntry(path, 0o100644, tree.entries[0].id, 42))


async def test_a_file_of_another_commit_is_not_streamed(forge: Forge, connect: Connect, repositories: Path) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    entry = next(entry for entry in tree.entries if entry.path == "public/index.html")
    other = str(Site(repositories / "alice" / "blog.git").head("dev"))
    for start_at in (0, 1):
        with pytest.raises(BadAnswer, match="another file"):
            await streamed(forgejo, repository, other, entry, start_at)


async def test_a_reader_that_leaves_a_stream_closes_its_connection(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    entry = next(entry for entry in tree.entries if entry.path == "public/big.dat")
    for _ in range(3):
        async with forgejo.stream(
            repository, path=entry.path, commit=tree.commit, id=entry.id, size=entry.size
        ) as chunks:
            assert BIG.startswith(await anext(chunks))
    assert await eventually(lambda: forge.in_flight == 0)
    assert forge.bytes_sent < 3 * len(BIG)


# LFS


OID = hashlib.sha256(LFS_OBJECT).hexdigest()


async def media(forgejo: Forgejo, path: str, oid: str, size: int, start: int = 0, end: int | None = None) -> bytes:
    repository, tree = await blog_tree(forgejo)
    async with forgejo.media(
        repository, path=path, commit=tree.commit, oid=oid, size=size, start=start, end=end
    ) as chunks:
        return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize(("start_at", "end"), [(0, None), (10, 20), (69_999, None), (1, None), (0, 1)])
@pytest.mark.parametrize("storage", [False, True])
async def test_an_lfs_object_is_streamed_whole_and_in_parts(
    start: Start, connect: Connect, start_at: int, end: int | None, storage: bool
) -> None:
    wanted = LFS_OBJECT[start_at:end]
    last = start_at + len(wanted) - 1
    partial = len(wanted) < len(LFS_OBJECT)
    fields = [("Content-Range", f"bytes {start_at}-{last}/{len(LFS_OBJECT)}")] if partial else []
    async with scripted(always(http(206 if partial else 200, wanted, *fields))) as elsewhere:
        if storage:
            forge = start(lfs_storage_url=f"{elsewhere.url}/bucket", require_sign_in=True)
            forgejo = connect(forge, "alice", lfs_storage_hosts=[f"127.0.0.1:{elsewhere.port}"])
        else:
            forgejo = connect(start())
        assert await media(forgejo, "public/media.bin", OID, len(LFS_OBJECT), start_at, end) == wanted
        assert len(elsewhere.requests) == storage
        for seen in elsewhere.requests:
            assert "authorization" not in seen.headers
            assert seen.headers.get("range") == (f"bytes={start_at}-{last}" if partial else None)


async def test_a_small_lfs_object_comes_in_one_piece(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    entry = next(entry for entry in tree.entries if entry.path == "public/media.bin")
    pointer = lfs_pointer((await forgejo.blobs(repository, [(entry.id, entry.size)]))[entry.id])
    assert pointer == LfsPointer(OID, len(LFS_OBJECT))
    before = forgejo.calls
    assert (
        await forgejo.media_bytes(repository, path=entry.path, commit=tree.commit, oid=OID, size=len(LFS_OBJECT))
        == LFS_OBJECT
    )
    assert forgejo.calls == before + 1


@pytest.mark.parametrize(("start_at", "size"), [(0, 5), (1, 5), (200, 500), (0, 126)])
async def test_a_pointer_without_its_object_is_not_found(
    forge: Forge, connect: Connect, start_at: int, size: int
) -> None:
    with pytest.raises(NotFound) as caught:
        await media(connect(forge), "public/fake-pointer.txt", "0" * 64, size, start_at)
    assert not caught.value.certain


async def test_an_lfs_storage_that_nobody_named_is_not_asked(
    start: Start, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async with scripted(always(http(200, LFS_OBJECT))) as elsewhere:
        forge = start(lfs_storage_url=f"{elsewhere.url}/bucket")
        for hosts in ([], ["127.0.0.1"], ["127.0.0.1:1"], ["example.org"]):
            forgejo = connect(forge, lfs_storage_hosts=hosts)
            for _ in range(2):
                with pytest.raises(BadAnswer):
                    await media(forgejo, "public/media.bin", OID, len(LFS_OBJECT))
        assert not elsewhere.requests
    assert [record.getMessage() for record in caplog.records] == [
        f"Forgejo keeps LFS objects at 127.0.0.1:{elsewhere.port}, which is not in lfsStorageHosts"
    ] * 4


async def test_an_lfs_storage_that_sends_something_else_is_not_believed(start: Start, connect: Connect) -> None:
    other = noise(len(LFS_OBJECT), 99)
    async with scripted(always(http(200, other))) as elsewhere:
        forgejo = connect(start(lfs_storage_url=elsewhere.url), lfs_storage_hosts=[f"127.0.0.1:{elsewhere.port}"])
        repository, tree = await blog_tree(forgejo)
        received = 0
        async with forgejo.media(
            repository, path="public/media.bin", commit=tree.commit, oid=OID, size=len(LFS_OBJECT)
        ) as chunks:
            with pytest.raises(BadAnswer, match="do not match"):
                received = await length_of(chunks)
        assert received < len(LFS_OBJECT)


async def length_of(chunks: AsyncIterator[bytes]) -> int:
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        assert received < len(LFS_OBJECT), "the last chunk came before the hash was known"
    return received


# Everything else


async def test_the_version_and_where_a_path_precedes_the_api(forge: Forge, connect: Connect) -> None:
    assert await connect(forge).version() == "16.0.0+gitea-1.22.0"


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


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5\n", LfsPointer("a" * 64, 5)),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5", LfsPointer("a" * 64, 5)),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 0\n", LfsPointer("a" * 64, 0)),
        (
            "version https://git-lfs.github.com/spec/v1\next-0-foo sha256:{oid}\noid sha256:{oid}\nsize 12345\n",
            LfsPointer("a" * 64, 12345),
        ),
        ("version https://git-lfs.github.com/spec/v1\nsize 5\noid sha256:{oid}\n", None),
        ("version https://git-lfs.github.com/spec/v1\r\noid sha256:{oid}\r\nsize 5\r\n", None),
        ("version https://git-lfs.github.com/spec/v2\noid sha256:{oid}\nsize 5\n", None),
        (" version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5\n", None),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:A{oid}\nsize 5\n", None),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize -5\n", None),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5\nmore\n", None),
        ("version https://git-lfs.github.com/spec/v1\noid md5:{oid}\nsize 5\n", None),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5\n" + "\n" * 1024, None),
        ("", None),
    ],
)
def test_what_is_an_lfs_pointer(text: str, pointer: LfsPointer | None) -> None:
    assert lfs_pointer(text.format(oid="a" * 64).encode()) == pointer
