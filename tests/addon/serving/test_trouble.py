# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Forgejo in every kind of trouble, at every kind of call: what visitors get, how soon, and what is asked again."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from addon.forgejo.errors import Overloaded
from addon.preview.faults import html_instead
from addon.preview.forge import Forge
from addon.preview.settings import Token
from addon.shared.lookup import Fault
from addon.web.forwarding import Visitor
from tests.addon.preview.fixtures import noise
from tests.addon.preview.sites import Site, lfs_pointer
from tests.addon.serving.pages import ENABLED, serving
from tests.waiting import until

TOKEN = "a1" * 20
TIMEOUT = "300ms"
INDEX, FILM, OBJECT = b"<h1>Index</h1>" * 30, noise(200_000, 1), noise(3000, 2)

# Where the trouble is: the pattern of its targets, and a path whose first answer needs that call.
CALLS = {
    "repository": (r"repos/alice/blog$", "/blog/"),
    "branch": (r"/branches/", "/blog/"),
    "tree": (r"/git/trees/", "/blog/"),
    "blobs": (r"/git/blobs\?", "/blog/"),
    "blob": (r"/git/blobs/", "/blog/other.css"),
    "stream": (r"/raw/", "/blog/film.mp4"),
    "media": (r"/media/", "/blog/object.bin"),
}
JSON = (("Content-Type", "application/json;charset=utf-8"),)
NOT_FOUND = b'{"errors":[],"message":"The target couldn\'t be found.","url":"x"}\n'

# What the trouble is: options of the fault, and the statuses that fit.
TROUBLES: dict[str, tuple[dict[str, Any], set[int]]] = {
    "hung": ({"hang": True}, {504}),
    "slow": ({"delay": 2.0}, {504}),
    "hung up": ({"drop": True}, {502}),
    "401": ({"status": 401, "body": b'{"message":"no","url":"x"}\n', "headers": JSON}, {403, 502}),
    "403": ({"status": 403, "body": b'{"message":"no","url":"x"}\n', "headers": JSON}, {403, 502}),
    "429": ({"status": 429, "body": b"slow down", "headers": (("Retry-After", "3"),)}, {503}),
    "500": ({"status": 500, "body": b'{"message":"","url":"x"}\n', "headers": JSON}, {502}),
    "503 html": (html_instead(503), {502}),
    "404 html": (html_instead(404), {502}),
    "html": (html_instead(200), {502}),
    "empty": ({"status": 200, "body": b""}, {502}),
    "truncated": ({"truncate": 20}, {502}),
    "no json": ({"body": b'{"id": 5, "name": ', "headers": JSON}, {502}),
    "list": ({"body": b"[1, 2]", "headers": JSON}, {502}),
    "null": ({"body": b"null", "headers": JSON}, {502}),
    "nested": ({"body": b"[" * 100_000, "headers": JSON}, {502}),
    "loop": ({"status": 307, "body": b"", "headers": (("Location", "/api/v1/repos/alice/blog"),)}, {502}),
    "elsewhere": ({"status": 307, "body": b"", "headers": (("Location", "http://192.0.2.1/steal"),)}, {502}),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    site = Site(
        tmp_path / "alice" / "blog.git",
        {
            ".pages": ENABLED,
            "public/index.html": INDEX,
            "public/other.css": b"a{}" * 100,
            "public/film.mp4": FILM,
            "public/object.bin": lfs_pointer(OBJECT),
        },
    )
    site.upload_lfs(OBJECT)
    Site(tmp_path / "bob" / "calm.git", {".pages": ENABLED, "public/index.html": b"calm"})
    return tmp_path


@pytest.fixture
def forge_options() -> dict[str, Any]:
    return {"tokens": {TOKEN: Token("alice")}}


def quiet(reply: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of the inside is told to visitors, and nothing of the token to anybody."""
    for word in (b"Traceback", b"Error(", b"192.0.2.1", b"/api/v1", b"Forgejo answered", TOKEN.encode()):
        assert word not in reply.body
    assert reply.body
    assert reply.headers["cache-control"] == "no-store"
    assert TOKEN not in caplog.text
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("call", CALLS)
async def test_trouble_is_a_page_of_ours_soon_and_asked_again_after_seconds(
    forge: Forge, caplog: pytest.LogCaptureFixture, call: str, trouble: str
) -> None:
    pattern, path = CALLS[call]
    options, statuses = TROUBLES[trouble]
    async with serving(forge, token=TOKEN, forgejoTimeout=TIMEOUT, maxCachedFileSize="64KiB") as pages:
        if call in ("blob", "stream", "media"):
            assert (await pages.get("alice", "/blog/")).status == 200
        with forge.fault(pattern, **options):
            began = time.monotonic()
            reply = await pages.get("alice", path)
            assert time.monotonic() - began < 5
            if reply.cut is not None:  # it had begun: cut is all that can be said
                assert (call, trouble) == ("stream", "truncated")
                return
            assert reply.status in statuses, reply.text
            quiet(reply, caplog)
            if reply.status != 403:
                assert int(reply.headers["retry-after"]) >= 1
            await pages.settle()
            pages.asked()
            again = await pages.get("alice", path)
            assert (again.status, again.recalled) == (reply.status, True)
            assert pages.count() == 0
        pages.clock.pass_(61)
        assert (await pages.get("alice", path)).status == 200


@pytest.mark.parametrize(
    "trouble", sorted(TROUBLES.keys() - {"401", "403"})
)  # which end the serving: see test_library.py
@pytest.mark.parametrize("call", ["repository", "branch", "tree", "blobs"])
async def test_a_known_site_goes_on_as_stale_and_is_asked_for_again(
    forge: Forge, root: Path, caplog: pytest.LogCaptureFixture, call: str, trouble: str
) -> None:
    options, _ = TROUBLES[trouble]
    pattern = {"blobs": "/git/blobs"}.get(call, CALLS[call][0])
    async with serving(forge, forgejoTimeout=TIMEOUT) as pages:
        assert (await pages.get("alice", "/blog/")).status == 200
        if call != "repository":
            Site(root / "alice" / "blog.git").commit({"public/index.html": b"<h1>New</h1>", ".pages": b"enabled: on\n"})
        with forge.fault(pattern, **options):
            pages.clock.pass_(301)
            assert (await pages.get("alice", "/blog/")).body == INDEX
            await pages.settle()
            for _ in range(3):
                reply = await pages.get("alice", "/blog/")
                assert (reply.status, reply.body, reply.cache, reply.recalled) == (200, INDEX, "STALE", True)
            pages.asked()
            await pages.get("alice", "/blog/")
            await pages.settle()
            assert pages.count() == 0
        pages.clock.pass_(61)
        await pages.get("alice", "/blog/")
        await pages.settle()
        reply = await pages.get("alice", "/blog/")
        assert reply.body == (INDEX if call == "repository" else b"<h1>New</h1>")
        assert reply.cache != "STALE"


async def test_the_pauses_between_looks_grow_while_forgejo_is_away(forge: Forge) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        pages.clock.pass_(301)
        pauses = []
        with forge.fault(status=500, body=b"down"):
            for _ in range(8):
                await pages.get("alice", "/blog/")
                await pages.settle()
                pauses.append(pages.known("alice", "blog").retry - pages.clock())
                pages.clock.pass_(pauses[-1] + 0.1)
        assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]


async def test_what_is_known_is_served_for_a_day_and_no_longer(forge: Forge) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        with forge.fault(drop=True):
            for hours in (1, 10, 12):
                pages.clock.pass_(hours * 3600)
                assert (await pages.get("alice", "/blog/")).body == INDEX
                await pages.settle()
                assert (await pages.get("alice", "/blog/")).cache == "STALE"
            pages.clock.pass_(2 * 3600)
            assert (await pages.get("alice", "/blog/")).status == 502
            assert pages.known("alice", "blog").fault is Fault.TROUBLE
        pages.clock.pass_(61)
        assert (await pages.get("alice", "/blog/")).body == INDEX


async def test_a_site_that_nobody_visited_for_a_day_is_not_served_unseen(forge: Forge) -> None:
    async with serving(forge, forgejoTimeout="1s") as pages:
        await pages.get("alice", "/blog/")
        pages.clock.pass_(25 * 3600)
        with forge.fault(hang=True):
            assert (await pages.get("alice", "/blog/")).status == 504


@pytest.mark.parametrize("trouble", ["hung up", "500", "html", "429"])
async def test_a_not_found_while_forgejo_is_in_trouble_ends_no_site(forge: Forge, trouble: str) -> None:
    """A proxy in front of a forge that starts may answer 404; the version tells."""
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        pages.clock.pass_(700)
        forge.fault("/version", **TROUBLES[trouble][0])
        with forge.fault("/repos/", status=404, body=NOT_FOUND, headers=JSON):
            reply = await pages.get("alice", "/blog/")
            assert (reply.body, reply.cache) == (INDEX, "STALE")
            forge.heal()
            forge.fault("/repos/", status=404, body=NOT_FOUND, headers=JSON)
            pages.clock.pass_(61)
            await pages.get("alice", "/blog/")
            await pages.settle()
            assert (await pages.get("alice", "/blog/")).status == 404


async def test_a_broken_file_costs_one_call_however_many_ask_for_it(forge: Forge) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        with forge.fault("/git/blobs/", status=500, body=b"x"):
            pages.asked()
            replies = await asyncio.gather(*(pages.get("alice", "/blog/other.css") for _ in range(200)))
            assert {reply.status for reply in replies} == {502}
            assert pages.count() == 1
        assert (await pages.get("alice", "/blog/")).status == 200
        pages.clock.pass_(3)
        assert (await pages.get("alice", "/blog/other.css")).status == 200


async def test_a_blob_that_git_has_lost_makes_the_repository_be_looked_at_under_the_name_it_is_held_by(
    forge: Forge,
) -> None:
    forge.rename("alice/blog", "alice/journal")
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        looked = pages.known("alice", "blog").looked
        pages.clock.pass_(5)
        with forge.fault("/git/blobs/", status=400, body=b'{"message":"sha not found","url":"x"}', headers=JSON):
            assert (await pages.get("alice", "/blog/other.css")).status == 502
            await pages.settle()
        assert pages.known("alice", "blog").looked == looked + 5
        assert pages.library.peek(("alice", "journal")) is None


LIES: dict[str, Any] = {
    "two sizes of one blob": lambda tree: tree["tree"][2].update(sha=tree["tree"][3]["sha"]),
    "half a character": lambda tree: tree["tree"][2].update(path="public/\ud800"),
    "a size beyond all": lambda tree: tree["tree"][2].update(size=2**80),
    "a negative size": lambda tree: tree["tree"][2].update(size=-1),
    "a short id": lambda tree: tree["tree"][2].update(sha="abc"),
    "an id of the other kind": lambda tree: tree["tree"][2].update(sha="a" * 64),
    "a mode git has not": lambda tree: tree["tree"][2].update(mode="777777"),
    "a path upwards": lambda tree: tree["tree"][2].update(path="public/../../x"),
    "another commit": lambda tree: tree.update(sha="0" * 40),
    "more than there is": lambda tree: tree.update(total_count=10**9),
    "nothing": lambda tree: tree.update(tree=None),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lying_tree_is_a_bad_gateway_without_a_trace(
    forge: Forge, caplog: pytest.LogCaptureFixture, lie: str
) -> None:
    def told(tree: Any) -> Any:
        LIES[lie](tree)
        return tree

    async with serving(forge) as pages:
        with forge.fault("/git/trees/", document=told):
            reply = await pages.get("alice", "/blog/")
        if lie == "two sizes of one blob" and reply.status == 200:
            return  # both rows are of files that nobody asked for
        assert reply.status == 502
        quiet(reply, caplog)


async def test_wrong_bytes_are_never_shown(forge: Forge, caplog: pytest.LogCaptureFixture) -> None:
    def evil(blob: Any) -> Any:
        blobs = blob if isinstance(blob, list) else [blob]
        for one in blobs:
            one["content"] = "ZXZpbA==" + one["content"][8:]
        return blob

    async with serving(forge, maxCachedFileSize="64KiB") as pages:
        with forge.fault("/git/blobs", document=evil):
            assert (await pages.get("alice", "/blog/")).status == 502
        pages.clock.pass_(3)
        await pages.get("alice", "/blog/")
        with forge.fault("/git/blobs/", document=evil):
            assert (await pages.get("alice", "/blog/other.css")).status == 502
        with forge.fault("/raw/", body=b"evil" + FILM[4:]):
            reply = await pages.get("alice", "/blog/film.mp4")
            assert reply.cut is not None
            assert len(reply.body) < len(FILM)
        with forge.fault("/media/", body=b"evil" + OBJECT[4:]):
            assert (await pages.get("alice", "/blog/object.bin")).status == 502


async def test_random_names_cannot_starve_a_site(forge: Forge) -> None:
    """Forgejo is slow for names that it does not have; a known site's pages and a look at it are not."""
    loop = asyncio.get_running_loop()
    async with serving(forge, forgejoTimeout="5s") as pages:
        await pages.get("alice", "/blog/")
        with forge.fault(r"/repos/(nobody|alice/random)", delay=2.0):
            strangers = [
                asyncio.ensure_future(pages.get(*name))
                for number in range(300)
                for name in ((f"nobody{number}", "/"), ("alice", f"/random{number}/x"))
            ]
            await until(lambda: forge.in_flight >= 4)
            began = loop.time()
            assert (await pages.get("alice", "/blog/other.css")).status == 200
            assert (await pages.get("alice", "/blog/film.mp4")).body == FILM
            pages.clock.pass_(700)
            assert (await pages.get("alice", "/blog/")).body == INDEX
            assert loop.time() - began < 1.8
            assert forge.most_at_once <= 16
            forge.heal()
            replies = await asyncio.gather(*strangers)
        assert {reply.status for reply in replies} == {404, 503}
        refused = [reply for reply in replies if reply.status == 503]
        assert len(refused) > 50  # those who would have come too late
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)


async def test_a_known_profile_serves_on_while_forgejo_hangs_at_names_that_it_never_had(
    forge: Forge, root: Path
) -> None:
    Site(root / "alice" / ".profile.git", {".pages": ENABLED, "public/css/x.css": b"x{}", "public/index.html": b"me"})
    loop = asyncio.get_running_loop()
    async with serving(forge, forgejoTimeout="30s") as pages:
        assert (await pages.get("alice", "/css/x.css")).body == b"x{}"
        with forge.fault(hang=True):
            for seconds in (301, 700, 3600):
                pages.clock.pass_(seconds)
                began = loop.time()
                assert (await pages.get("alice", "/css/x.css")).body == b"x{}"
                assert (await pages.get("alice", "/css/y.css")).status == 404
                assert loop.time() - began < 10


async def test_an_outage_is_no_flood_of_log_lines(forge: Forge, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(forge) as pages:
        with forge.fault(drop=True):
            for number in range(100):
                assert (await pages.get(f"user{number}", "/")).status == 502
        assert len(caplog.records) < 10


async def test_who_takes_large_files_slowly_leaves_places_for_others(forge: Forge) -> None:
    async with serving(forge, maxCachedFileSize="100KiB") as pages, AsyncExitStack() as stack:
        pages.forgejo._calls.places.total = 16
        said: list[int] = []

        async def begun(address: str) -> int:
            """How many of the film's streams one visitor gets."""
            count = 0
            while count < 20:
                request = replace(pages.request("alice", "/blog/film.mp4"), visitor=lambda: Visitor(address, True))
                answer = pages.server.answer_from_memory(request) or await pages.server.answer(request)
                assert answer.stream is not None
                try:
                    await stack.enter_async_context(answer.stream())
                except Overloaded as error:
                    said.append(answer.otherwise(error).status)
                    break
                count += 1
            return count

        assert await begun("192.0.2.7") == 12
        assert await begun("2001:db8::1") == 2
        assert await begun("192.0.2.7") == 0
        assert said == [503] * 3
