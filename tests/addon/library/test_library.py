# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What becomes of a site when its repository changes: pushed, forced, renamed, closed, deleted, made anew."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from addon.preview.forge import Forge
from addon.preview.settings import READ_REPOSITORY, RepositorySettings, Token
from addon.shared.lookup import EMPTY, Fault
from addon.web.http_dates import http_date, parse_http_date
from tests.addon.preview.fixtures import noise
from tests.addon.preview.sites import DAY, EPOCH, Site, link
from tests.addon.serving.pages import ENABLED, TODAY, serving
from tests.waiting import until

SECRET = "a1" * 20
OLD = 700.0
"""Seconds after which nobody is shown what is known without a look."""
BLOG = {".pages": ENABLED, "public/index.html": b"first one", "public/style.css": b"first one{}"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Site(tmp_path / "alice" / "blog.git", BLOG)
    return tmp_path


@pytest.fixture
def site(root: Path) -> Site:
    return Site(root / "alice" / "blog.git")


@pytest.fixture
def forge_options() -> dict[str, Any]:
    return {"tokens": {SECRET: Token("alice", frozenset({READ_REPOSITORY}))}}


# Deploys.


async def test_visitors_see_one_commit_or_the_other_and_never_a_mixture(forge: Forge, site: Site) -> None:
    """Two pages that name their commit are read, again and again, while commits are pushed."""
    site.commit({"public/a.html": b"0" * 2000, "public/b.html": b"0" * 2000})
    async with serving(forge, cacheTTL="1s") as pages:
        seen = []
        for number in range(1, 8):
            site.commit({f"public/{name}.html": b"%d" % number * 2000 for name in "ab"})
            pages.clock.pass_(5)
            replies = await asyncio.gather(
                *(pages.get("alice", f"/blog/{name}.html", **headers) for name in "ab" for headers in ({}, RANGE))
            )
            commits = {reply.body[:1] for reply in replies}
            assert all(len(set(reply.body)) == 1 for reply in replies)
            assert len(commits) == 1
            seen.append(int(commits.pop()))
        assert seen == sorted(seen)
        assert seen[-1] == 7


RANGE = {"range": "bytes=1000-1999"}


async def test_a_stream_under_way_ends_with_the_commit_it_began_with(forge: Forge, site: Site) -> None:
    one, two = noise(300_000, 1), noise(300_000, 2)
    site.commit({"public/film.mp4": one})
    async with serving(forge, maxCachedFileSize="64KiB") as pages:
        answer = await pages.server.answer(pages.request("alice", "/blog/film.mp4"))
        site.commit({"public/film.mp4": two})
        pages.clock.pass_(OLD)
        assert (await pages.get("alice", "/blog/film.mp4")).body == two
        assert (await pages.read(answer)).body == one


async def test_a_download_is_not_resumed_with_another_commit(forge: Forge, site: Site) -> None:
    site.commit({"public/film.mp4": noise(300_000, 1)})
    async with serving(forge, maxCachedFileSize="64KiB") as pages:
        first = await pages.get("alice", "/blog/film.mp4", range="bytes=0-99")
        resumed = await pages.get("alice", "/blog/film.mp4", range="bytes=100-199", if_range=first.headers["etag"])
        assert (resumed.status, resumed.body) == (206, noise(300_000, 1)[100:200])
        site.commit({"public/film.mp4": noise(300_000, 2)})
        pages.clock.pass_(OLD)
        resumed = await pages.get("alice", "/blog/film.mp4", range="bytes=100-199", if_range=first.headers["etag"])
        assert (resumed.status, resumed.body) == (200, noise(300_000, 2))


async def test_a_path_that_a_deploy_removed_is_gone(forge: Forge, site: Site) -> None:
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/style.css")).status == 200
        site.commit({"public/style.css": None})
        pages.clock.pass_(OLD)
        assert (await pages.get("alice", "/blog/style.css")).status == 404


async def test_a_branch_forced_back_brings_the_old_site_back(forge: Forge, site: Site) -> None:
    first = site.head()
    async with serving(forge) as pages:
        site.commit({"public/index.html": b"two"})
        assert (await pages.get("alice", "/blog/")).body == b"two"
        assert first is not None
        site.point("main", first)
        pages.clock.pass_(OLD)
        assert (await pages.get("alice", "/blog/")).body == b"first one"


async def test_last_modified_never_goes_back_and_is_never_in_the_future(forge: Forge, site: Site) -> None:
    dates = [EPOCH + 50 * DAY, EPOCH + 20 * DAY, EPOCH + 50 * DAY, TODAY + DAY, EPOCH]
    last = 0
    async with serving(forge) as pages:
        for number, when in enumerate(dates):
            site.commit({"public/index.html": b"%d" % number}, when=when)
            pages.clock.pass_(OLD)
            pages.today.pass_(OLD)
            reply = await pages.get("alice", "/blog/")
            assert reply.body == b"%d" % number
            modified = parse_http_date(reply.headers["last-modified"].encode())
            assert modified is not None
            assert last < modified <= pages.today(), "two commits with one date would be one to If-Modified-Since"
            last = modified
        assert last > TODAY
        site.commit({".pages": b"["})
        pages.clock.pass_(OLD)
        assert (await pages.get("alice", "/blog/")).status == 500
        site.commit({".pages": ENABLED}, when=EPOCH)
        pages.clock.pass_(OLD)
        reply = await pages.get("alice", "/blog/")
        assert reply.headers["last-modified"].encode() >= http_date(last)
        since = parse_http_date(reply.headers["last-modified"].encode())
        assert since is not None
        assert since >= last


# What the owner does to the repository.


async def test_without_its_branch_a_site_ends(forge: Forge, site: Site) -> None:
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/")).status == 200
        site.delete_branch("main")
        pages.clock.pass_(OLD)
        assert (await pages.get("alice", "/blog/")).status == 404
        site.point("main", pages_commit(site))
        pages.clock.pass_(OLD)
        assert (await pages.get("alice", "/blog/")).status == 200


def pages_commit(site: Site) -> str:
    return site.commit(BLOG, branch="again", keep=False)


async def test_another_default_branch_is_served_though_the_old_one_is_still_there(forge: Forge, site: Site) -> None:
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/")).body == b"first one"
        site.commit({"public/index.html": b"other"}, branch="pages", parent=site.head())
        site.set_default_branch("pages")
        pages.clock.pass_(OLD)
        assert (await pages.get("alice", "/blog/")).body == b"other"


async def test_a_renamed_repository_goes_on_under_both_names(forge: Forge, site: Site) -> None:
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/")).body == b"first one"
        forge.rename("alice/blog", "alice/journal")
        for when in (0, OLD, OLD):
            pages.clock.pass_(when)
            assert (await pages.get("alice", "/blog/")).body == b"first one"
            assert (await pages.get("alice", "/journal/")).body == b"first one"
        assert pages.known("alice", "blog").key == ("alice", "blog")


@pytest.mark.parametrize("visited", [True, False])
async def test_a_webhook_under_the_new_name_refreshes_the_former_one(forge: Forge, site: Site, visited: bool) -> None:
    """After a rename made at the forge itself, its webhooks name the repository as it is called now."""
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/")).body == b"first one"
        assert (await pages.get("alice", "/other/")).status == 404
        forge.rename("alice/blog", "alice/journal")
        if visited:
            assert (await pages.get("alice", "/journal/")).body == b"first one"
        site.commit({"public/index.html": b"second one"})
        await pages.library.purge(("alice", "journal"))
        await pages.settle()
        assert (await pages.get("alice", "/blog/")).body == b"second one"
        assert (await pages.get("alice", "/journal/")).body == b"second one"


async def test_a_webhook_for_what_nobody_visited_disturbs_no_other_site(forge: Forge, site: Site, root: Path) -> None:
    Site(root / "alice" / "new.git", {".pages": ENABLED, "public/index.html": b"new"})
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        pages.asked()
        await pages.library.purge(("alice", "new"))
        await pages.settle()
        assert not [target for target in pages.asked() if "blog" in target]
        assert (await pages.get("alice", "/blog/")).recalled


async def test_a_new_repository_is_served_soon_after_its_first_push(forge: Forge, root: Path) -> None:
    """Forgejo calls it empty for half a second after; nobody waits ten seconds, or reloads, for that."""
    site = Site(root / "alice" / "fresh.git")
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/fresh/")).status == 404
        assert pages.known("alice", "fresh").reason == EMPTY
        site.commit({".pages": ENABLED, "public/index.html": b"fresh"})
        assert (await pages.get("alice", "/fresh/")).status == 404
        await until(lambda: pages.known("alice", "fresh").site is not None)
        assert (await pages.get("alice", "/fresh/")).body == b"fresh"
        assert not pages.library._empty


async def test_what_stays_empty_is_not_asked_for_without_end(
    forge: Forge, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addon.library.library._EMPTY_AGAIN", (0.01, 0.01, 0.01))
    Site(root / "alice" / "empty.git")
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/empty/")).status == 404
        await until(lambda: not pages.library._empty)
        await pages.settle()
        looks = [target for target in pages.asked() if target == "alice/empty"]
        assert len(looks) == 4
        await pages.get("alice", "/empty/")
        assert not pages.library._empty


async def test_a_repository_deleted_between_two_calls_is_gone_and_no_trouble(forge: Forge, site: Site) -> None:
    gone, json = b'{"message":"Not Found","url":"x"}', (("Content-Type", "application/json"),)
    async with serving(forge) as pages:
        with forge.fault("/git/trees/", status=404, body=gone, headers=json):
            reply = await pages.get("alice", "/blog/")
        assert (reply.status, pages.known("alice", "blog").fault) == (404, Fault.ABSENT)


async def test_a_push_to_a_repository_in_trouble_makes_no_look(forge: Forge, site: Site) -> None:
    """Who pushes through us while Forgejo cannot be read would only add to its trouble."""
    async with serving(forge) as pages:
        with forge.fault("repos/alice/blog", status=500):
            assert (await pages.get("alice", "/blog/")).status == 502
            assert pages.known("alice", "blog").fault is Fault.TROUBLE
            pages.asked()
            await pages.library.hint(("alice", "blog"))
            await pages.settle()
            assert pages.count() == 0
        pages.clock.pass_(61)
        assert (await pages.get("alice", "/blog/")).body == b"first one"
        site.commit({"public/index.html": b"other"})
        await pages.library.hint(("alice", "blog"))
        await pages.settle()
        assert (await pages.get("alice", "/blog/")).body == b"other"


async def test_a_transferred_repository_is_followed(forge: Forge) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        forge.rename("alice/blog", "bob/blog")
        pages.clock.pass_(OLD)
        assert (await pages.get("alice", "/blog/")).body == b"first one"
        assert (await pages.get("bob", "/blog/")).body == b"first one"


async def test_a_new_repository_under_an_old_name_is_served_instead_of_the_renamed_one(
    forge: Forge, root: Path
) -> None:
    async with serving(forge) as pages:
        forge.rename("alice/blog", "alice/journal")
        assert (await pages.get("alice", "/blog/")).body == b"first one"
        shutil.move(root / "alice" / "blog.git", root / "alice" / "journal.git")
        forge.registry._renames.clear()
        Site(root / "alice" / "blog.git", BLOG | {"public/index.html": b"new"})
        forge.settings("alice/blog").id = 4711
        pages.clock.pass_(OLD)
        assert (await pages.get("alice", "/blog/")).body == b"new"
        assert (await pages.get("alice", "/journal/")).body == b"first one"


@pytest.mark.parametrize("how", ["private", "limited owner", "hidden owner", "no code", "deleted"])
async def test_what_is_closed_is_not_served_after_the_next_look_and_opens_again(
    forge: Forge, root: Path, site: Site, how: str
) -> None:
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/")).status == 200
        settings, owner = forge.settings("alice/blog"), forge.owner_settings("alice")
        aside = root / "aside"
        match how:
            case "private":
                settings.private = True
            case "limited owner":
                owner.visibility = "limited"
            case "hidden owner":
                owner.visibility = "private"
            case "no code":
                settings.hidden_code = True
            case "deleted":
                shutil.move(root / "alice" / "blog.git", aside)
        pages.clock.pass_(OLD)
        for path in ("/blog/", "/blog/style.css", "/blog/missing"):
            reply = await pages.get("alice", path)
            assert (reply.status, b"first one" in reply.body) == (404, False)
        assert pages.known("alice", "blog").site is None
        settings.private = settings.hidden_code = False
        owner.visibility = "public"
        if aside.exists():
            shutil.move(aside, root / "alice" / "blog.git")
        pages.clock.pass_(11)
        assert (await pages.get("alice", "/blog/")).body == b"first one"


async def test_a_repository_made_anew_under_the_same_name_is_another(forge: Forge, root: Path, site: Site) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        before = pages.known("alice", "blog").repository
        shutil.rmtree(root / "alice" / "blog.git")
        forge.registry.refresh()
        Site(root / "alice" / "blog.git", BLOG)  # the same files and dates: even the same commit
        forge.settings("alice/blog").id = 4711
        pages.clock.pass_(OLD)
        assert (await pages.get("alice", "/blog/")).body == b"first one"
        after = pages.known("alice", "blog").repository
        assert before is not None
        assert after is not None
        assert (before.id != after.id, after.id) == (True, 4711)


async def test_an_emptied_repository_is_no_site(forge: Forge, root: Path) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        shutil.rmtree(root / "alice" / "blog.git")
        Site(root / "alice" / "blog.git")
        pages.clock.pass_(OLD)
        assert (await pages.get("alice", "/blog/")).status == 404


STEPS = [
    # what is pushed as `.pages`, status, part of the page
    (ENABLED, 200, b"first one"),
    (None, 404, b"not configured for pages"),
    (b"enabled: true\n", 200, b"first one"),
    (b"enabled: false\n", 404, b"not configured for pages"),
    (b"", 200, b"first one"),
    (b"enabled: [\n", 500, b"alice/blog/.pages"),
    (b"enabled: yes\n", 200, b"first one"),
    (b"password: " + b"0" * 64 + b"\n", 401, b"password"),
    (b"# " + b"x" * 70_000, 500, b"larger than 64 KiB"),
    (link("public/index.html"), 500, b"symbolic link"),
    (b"# " + b"x" * 60_000 + b"\nenabled: true\n", 200, b"first one"),
]


async def test_each_change_of_the_settings_counts_from_the_next_look_on(forge: Forge, site: Site) -> None:
    async with serving(forge) as pages:
        for settings, status, part in STEPS:
            site.commit({".pages": settings})
            pages.clock.pass_(OLD)
            for _ in range(2):
                reply = await pages.get("alice", "/blog/")
                assert (reply.status, part in reply.body) == (status, True), settings
            assert (b"first one" in reply.body) is (status == 200)


async def test_a_mended_settings_file_is_seen_by_whoever_comes_ten_seconds_later(forge: Forge, site: Site) -> None:
    site.commit({".pages": b"["})
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/")).status == 500
        site.commit({".pages": ENABLED})
        assert (await pages.get("alice", "/blog/")).status == 500
        pages.clock.pass_(11)
        assert (await pages.get("alice", "/blog/")).body == b"first one"


async def test_a_password_closes_a_known_site_at_the_next_look_behind_a_visitors_back(forge: Forge, site: Site) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        site.commit({".pages": b"password: " + b"0" * 64 + b"\n"})
        pages.clock.pass_(301)
        await pages.get("alice", "/blog/")
        await pages.settle()
        assert (await pages.get("alice", "/blog/")).status == 401
        assert (await pages.get("alice", "/blog/style.css")).status == 401


# Private repositories.

PRIVATE = [
    # servePrivateRepositories, publish_private, token, served
    (False, False, False, False),
    (False, False, True, False),
    (False, True, False, False),
    (False, True, True, False),
    (True, False, False, False),
    (True, False, True, False),
    (True, True, False, False),
    (True, True, True, True),
]


@pytest.mark.parametrize(("serve", "publish", "token", "served"), PRIVATE)
@pytest.mark.parametrize("known", [False, True], ids=["cold", "known while public"])
async def test_private_repositories_need_the_operator_the_owner_and_the_token(
    forge: Forge, site: Site, serve: bool, publish: bool, token: bool, served: bool, known: bool
) -> None:
    if publish:
        site.commit({".pages": b"publish_private: true\n"})
    async with serving(forge, token=SECRET if token else None, servePrivateRepositories=serve) as pages:
        if known:
            assert (await pages.get("alice", "/blog/")).status == 200
            pages.clock.pass_(OLD)
        forge.settings("alice/blog").private = True
        reply = await pages.get("alice", "/blog/")
        assert (reply.status, reply.body == b"first one") == ((200, True) if served else (404, False))
        forge.settings("alice/blog").private = False
        pages.clock.pass_(OLD)
        assert (await pages.get("alice", "/blog/")).body == b"first one"


@pytest.mark.parametrize("changed", [False, True], ids=["same commit", "new commit"])
async def test_a_token_shows_nothing_that_was_made_private_as_the_forge_began_to_ask_for_a_sign_in(
    forge: Forge, site: Site, changed: bool
) -> None:
    async with serving(forge, token=SECRET) as pages:
        assert (await pages.get("alice", "/blog/")).status == 200
        forge.settings("alice/blog").private = True
        forge.policy.require_sign_in = True
        if changed:
            site.commit({"public/index.html": b"not for you"})
        pages.clock.pass_(OLD)
        assert (await pages.get("alice", "/blog/")).status == 404


async def test_a_forge_that_asks_for_a_sign_in_needs_a_token(forge: Forge) -> None:
    forge.policy.require_sign_in = True
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/")).status == 403
    async with serving(forge, token=SECRET) as pages:
        assert (await pages.get("alice", "/blog/")).body == b"first one"
        assert pages.asked()[0] == "alice/blog"
        forge.settings("alice/blog").private = True
        pages.clock.pass_(OLD)
        assert (await pages.get("alice", "/blog/")).status == 404


async def test_a_refused_token_is_said_once_and_public_sites_go_on(
    forge: Forge, caplog: pytest.LogCaptureFixture, root: Path
) -> None:
    private = Site(
        root / "alice" / "closed.git", {".pages": b"publish_private: true\n", "public/index.html": b"closed"}
    )
    forge.settings("alice/closed").private = True
    async with serving(forge, token=SECRET, servePrivateRepositories=True) as pages:
        assert (await pages.get("alice", "/closed/")).body == b"closed"
        forge.tokens.clear()
        private.commit({"public/index.html": b"closed, too"})
        for _ in range(4):
            pages.clock.pass_(OLD)
            assert (await pages.get("alice", "/closed/")).status == 403
            assert (await pages.get("alice", "/blog/")).body == b"first one"
        said = [record.getMessage() for record in caplog.records if "refuses the token" in record.getMessage()]
        assert len(said) == 1
        assert SECRET not in caplog.text
        forge.tokens[SECRET] = Token("alice")
        pages.clock.pass_(OLD)
        assert (await pages.get("alice", "/closed/")).body == b"closed, too"


# Freshness.


async def test_an_aging_site_is_served_at_once_and_looked_at_behind_the_visitors_back(forge: Forge, site: Site) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        site.commit({"public/index.html": b"two"})
        pages.clock.pass_(299)
        assert (await pages.get("alice", "/blog/")).body == b"first one"
        await pages.settle()
        assert pages.count() == 4
        pages.clock.pass_(2)
        reply = await pages.get("alice", "/blog/")
        assert (reply.body, reply.recalled) == (b"first one", True)
        await pages.settle()
        assert (await pages.get("alice", "/blog/")).body == b"two"
        assert pages.count() == 3


async def test_the_first_visitor_of_the_day_waits_for_the_look_but_not_long(forge: Forge, site: Site) -> None:
    loop = asyncio.get_running_loop()
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        site.commit({"public/index.html": b"two"})
        pages.clock.pass_(601)
        with forge.fault("branches", hang=True):
            began = loop.time()
            reply = await pages.get("alice", "/blog/")
            assert (reply.status, reply.body) == (200, b"first one")
            assert 0.4 < loop.time() - began < 5, "and not the ten seconds of a call"
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        site.commit({"public/index.html": b"three"})
        pages.clock.pass_(601)
        assert (await pages.get("alice", "/blog/")).body == b"three"


async def test_a_new_repository_is_seen_by_whoever_comes_ten_seconds_later(forge: Forge, root: Path) -> None:
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/new/")).status == 404
        Site(root / "alice" / "new.git", BLOG)
        assert (await pages.get("alice", "/new/")).status == 404
        pages.clock.pass_(11)
        assert (await pages.get("alice", "/new/")).body == b"first one"


async def test_a_repository_named_like_a_folder_of_the_profile_is_found_within_the_life_of_a_ref(
    forge: Forge, root: Path
) -> None:
    Site(root / "alice" / ".profile.git", {".pages": ENABLED, "public/docs/index.html": b"folder"})
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/docs/")).body == b"folder"
        Site(root / "alice" / "docs.git", BLOG)
        pages.clock.pass_(301)
        assert (await pages.get("alice", "/docs/")).body == b"folder"
        await pages.settle()
        assert (await pages.get("alice", "/docs/")).body == b"first one"


async def test_an_access_lost_for_a_while_leaves_no_stale_no_behind(forge: Forge) -> None:
    async with serving(forge) as pages:
        with forge.fault("/blog", status=403):
            assert (await pages.get("alice", "/blog/")).status == 403
        pages.clock.pass_(11)
        assert (await pages.get("alice", "/blog/")).status == 200


async def test_what_is_refused_stops_being_served_but_is_not_forgotten(forge: Forge) -> None:
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/")).status == 200
        with forge.fault("/blog", status=401):
            pages.clock.pass_(OLD)
            assert (await pages.get("alice", "/blog/")).status == 403
            assert (await pages.get("alice", "/blog/style.css")).status == 403
        assert pages.known("alice", "blog").fault is Fault.REFUSED
        pages.clock.pass_(11)
        assert (await pages.get("alice", "/blog/")).body == b"first one"


async def test_a_hidden_repositorys_settings_are_data(forge: Forge) -> None:
    """`fields` overrides what the forge says: an internal repository is not a public one."""
    forge.registry.settings("alice/blog").fields = {"internal": True}
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/")).status == 404
    assert isinstance(forge.settings("alice/blog"), RepositorySettings)
