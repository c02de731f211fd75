# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What the recordings do not show: sign-in mode, other flavours, storage elsewhere, faults, counts, slow readers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from addon.preview.faults import html_instead
from addon.preview.forge import Forge
from addon.preview.settings import FORGEJO_11, GITEA, Limits, Token
from tests.addon.preview.asking import ask, get
from tests.addon.preview.fixtures import LFS_OBJECT, noise
from tests.addon.preview.running import TOKENS, start_forge
from tests.addon.preview.sites import Site, lfs_pointer
from tests.waiting import wait_until

REPOSITORY = "/api/v1/repos/alice/blog"
BIG = "7cd5ca9e755b7a913f5f91cf0addb7c0ccf13688"
FIRST = "4828ba2ad3ab2fc58945e97acfae9545ff449f74"
ALICE = {"Authorization": f"token {TOKENS['alice']}"}


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        (ALICE, ""),
        ({"Authorization": f"Bearer {TOKENS['alice']}"}, ""),
        ({"Authorization": f"TOKEN {TOKENS['alice']}"}, ""),
        (basic("alice", TOKENS["alice"]), ""),
        (basic(TOKENS["alice"], ""), ""),
        (basic(TOKENS["alice"], "x-oauth-basic"), ""),
        ({}, f"?token={TOKENS['alice']}"),
        ({}, f"?access_token={TOKENS['alice']}"),
    ],
)
def test_a_token_is_taken_in_all_of_its_forms(forge: Forge, headers: dict[str, str], query: str) -> None:
    received = get(forge, f"/api/v1/repos/alice/secret{query}", headers)
    assert received.status == 200
    assert (received.header("Warning") is not None) == bool(query)


def test_a_token_that_is_revoked_is_refused_also_for_public_repositories(forge: Forge) -> None:
    assert get(forge, REPOSITORY, ALICE).status == 200
    del forge.tokens[TOKENS["alice"]]
    assert get(forge, REPOSITORY, ALICE).status == 401
    assert get(forge, "/api/v1/version", ALICE).status == 401
    assert get(forge, "/alice/blog/raw/branch/main/README.md", ALICE).status == 401


def test_in_sign_in_mode_the_anonymous_learn_nothing(forge: Forge) -> None:
    forge.policy.require_sign_in = True
    for target in (REPOSITORY, "/api/v1/version", "/api/v1/settings/api", "/api/v1/nothing"):
        received = get(forge, target)
        assert (received.status, received.json()) == (403, {"message": "Only signed in user is allowed to call APIs."})
    assert get(forge, REPOSITORY, ALICE).status == 200
    web = get(forge, "/alice/blog/raw/branch/main/README.md")
    assert (web.status, web.header("Location")) == (303, "/user/login")
    assert get(forge, "/alice/blog/raw/branch/main/README.md", ALICE).status == 200


def test_settings_count_from_the_next_request_on(forge: Forge) -> None:
    assert get(forge, REPOSITORY).status == 200
    forge.settings("alice/blog").private = True
    assert get(forge, REPOSITORY).status == 404
    assert get(forge, REPOSITORY, ALICE).json()["private"] is True
    forge.settings("alice/blog").private = False
    forge.owner_settings("alice").visibility = "limited"
    assert get(forge, REPOSITORY).status == 404
    assert get(forge, REPOSITORY, {"Authorization": f"token {TOKENS['bob']}"}).json()["private"] is False
    forge.owner_settings("alice").visibility = "private"
    assert get(forge, REPOSITORY, {"Authorization": f"token {TOKENS['bob']}"}).status == 404
    forge.tokens["e5" * 20] = Token("root", admin=True)
    assert get(forge, REPOSITORY, {"Authorization": f"token {'e5' * 20}"}).json()["internal"] is True
    forge.owner_settings("alice").visibility = "public"
    forge.settings("alice/blog").hidden_code = True
    assert get(forge, f"{REPOSITORY}/branches/main").status == 404


def test_renames_chain_and_hide_what_may_not_be_seen(forge: Forge) -> None:
    forge.rename("newbie/site", "newbie/page")
    first = get(forge, "/api/v1/repos/oldie/site/branches/main")
    assert (first.status, first.header("Location")) == (307, "/api/v1/repos/newbie/site/branches/main")
    second = get(forge, str(first.header("Location")))
    assert (second.status, second.header("Location")) == (301, "/api/v1/repos/newbie/page/branches/main")
    assert get(forge, str(second.header("Location"))).status == 200
    forge.settings("alice/newname").private = True
    assert get(forge, "/api/v1/repos/alice/oldname").status == 404
    assert get(forge, "/api/v1/repos/alice/oldname", ALICE).status == 301


def test_a_redirect_cleans_its_query_as_if_it_were_a_path(forge: Forge) -> None:
    received = get(forge, "/api/v1/repos/alice/oldname/raw/a?ref=x//y")
    assert received.header("Location") == "/api/v1/repos/alice/newname/raw/a?ref=x/y"


def test_slashes_too_many_are_forgiven_and_dots_are_not(forge: Forge) -> None:
    assert get(forge, "/api//v1/repos/alice//blog/").status == 200
    assert get(forge, "/api/v1/repos/alice/./blog").status == 404
    assert get(forge, "/api/v1/repos/alice/../alice/blog").status == 404


def test_writing_needs_a_token_and_is_never_allowed(forge: Forge) -> None:
    assert ask(forge, "DELETE", REPOSITORY).status == 401
    assert ask(forge, "DELETE", REPOSITORY, ALICE).status == 403
    assert ask(forge, "PUT", REPOSITORY).status == 405
    forge.tokens["f6" * 20] = Token("alice", frozenset({"all"}))
    assert ask(forge, "DELETE", REPOSITORY, {"Authorization": f"token {'f6' * 20}"}).status == 403


def test_forgejo_11_has_no_batches(repositories: Path) -> None:
    with start_forge(repositories, flavour=FORGEJO_11) as forge:
        received = get(forge, f"{REPOSITORY}/git/blobs?shas={FIRST}")
        assert (received.status, received.body) == (404, b"404 page not found\n")
        assert get(forge, "/api/v1/version").json()["version"].startswith("11.")


def test_gitea_differs_where_it_does(repositories: Path) -> None:
    with start_forge(repositories, flavour=GITEA) as forge:
        assert get(forge, f"{REPOSITORY}/git/blobs?shas={FIRST}").status == 404
        assert "+gitea-" not in get(forge, "/api/v1/version").json()["version"]
        assert get(forge, "/api/forgejo/v1/version").status == 404
        blob = get(forge, f"{REPOSITORY}/git/blobs/{BIG}").json()
        assert (blob["content"], blob["encoding"], blob["size"]) == (None, None, 11 * 1024 * 1024)
        pages = [
            get(forge, f"/api/v1/repos/alice/many/git/trees/main?recursive=1&page={page}").json()["truncated"]
            for page in (1, 2, 3)
        ]
        assert pages == [True, True, False]
        head = ask(forge, "HEAD", f"{REPOSITORY}/raw/README.md?ref=main")
        assert head.status == 200
        assert head.header("X-Forgejo-Object-Type") is None


def test_limits_are_the_administrators(repositories: Path) -> None:
    limits = Limits(max_response_items=2, default_git_trees_per_page=10, default_max_blob_size=20)
    with start_forge(repositories, limits=limits) as forge:
        assert get(forge, "/api/v1/settings/api").json()["max_response_items"] == 2
        assert len(get(forge, f"{REPOSITORY}/git/blobs?shas={FIRST},{FIRST},{FIRST}").json()) == 2
        assert get(forge, f"{REPOSITORY}/git/blobs/{FIRST}").json()["content"] == ""
        assert len(get(forge, f"{REPOSITORY}/git/trees/main?recursive=1&per_page=99").json()["tree"]) == 10


def test_an_address_may_have_a_sub_path(repositories: Path) -> None:
    with start_forge(repositories, root_url="http://forge.test/git/", renames={"alice/oldname": "alice/new"}) as forge:
        for prefix in ("/git", ""):
            document = get(forge, f"{prefix}{REPOSITORY}").json()
            assert document["url"] == "http://forge.test/git/api/v1/repos/alice/blog"
        assert get(forge, "/git/api/v1/repos/alice/oldname").header("Location") == "/git/api/v1/repos/alice/new"


def test_a_sha256_repository_has_long_ids_that_fit(forge: Forge) -> None:
    branch = get(forge, "/api/v1/repos/alice/sixtyfour/branches/main").json()
    commit = branch["commit"]["id"]
    assert len(commit) == 64
    tree = get(forge, f"/api/v1/repos/alice/sixtyfour/git/trees/{commit}?recursive=true").json()
    row = next(one for one in tree["tree"] if one["path"] == "public/a.css")
    batch = get(forge, f"/api/v1/repos/alice/sixtyfour/git/blobs?shas={row['sha']}").json()
    data = base64.b64decode(batch[0]["content"])
    assert hashlib.sha256(b"blob %d\0" % len(data) + data).hexdigest() == row["sha"]
    assert get(forge, "/api/v1/repos/alice/sixtyfour").json()["object_format_name"] == "sha256"
    assert get(forge, f"/api/v1/repos/alice/sixtyfour/git/blobs/{'1' * 40}").status == 400


def test_lfs_objects_may_be_stored_elsewhere(forge: Forge) -> None:
    forge.policy.lfs_storage_url = f"http://localhost:{forge.port}/lfs-storage"
    received = get(forge, f"{REPOSITORY}/media/public/media.bin?ref=main")
    assert received.status == 303
    target = str(received.header("Location")).removeprefix(f"http://localhost:{forge.port}")
    assert get(forge, target).body == LFS_OBJECT
    assert get(forge, target, ALICE).status == 400
    assert get(forge, f"{REPOSITORY}/media/public/index.html?ref=main").status == 200


@pytest.mark.parametrize(
    ("headers", "status", "part"),
    [
        ({"Range": "bytes=-5"}, 206, LFS_OBJECT[-5:]),
        ({"Range": "bytes=69999-"}, 206, LFS_OBJECT[-1:]),
        ({"Range": "bytes=0-9", "If-Range": f'"{hashlib.sha256(LFS_OBJECT).hexdigest()}"'}, 206, LFS_OBJECT[:10]),
        ({"Range": "bytes=0-9", "If-Range": '"other"'}, 200, LFS_OBJECT),
        ({"Range": "bytes=70000-"}, 416, None),
        ({"Range": "bytes=9-3"}, 416, None),
    ],
)
def test_ranges_of_lfs_objects_are_complete(
    forge: Forge, headers: dict[str, str], status: int, part: bytes | None
) -> None:
    received = get(forge, f"{REPOSITORY}/media/public/media.bin?ref=main", headers)
    assert received.status == status
    assert part is None or received.body == part


def test_names_that_are_no_utf8_are_reached_by_their_bytes_and_by_id(forge: Forge) -> None:
    assert get(forge, f"{REPOSITORY}/raw/public/files/bad%FF.txt?ref=main").body == b"not utf-8 name\n"
    assert get(forge, f"{REPOSITORY}/raw/public/files/bad%EF%BF%BD.txt?ref=main").status == 404
    by_id = get(forge, "/alice/blog/raw/blob/594f74a76fe096bf625300ee960bc3d2a494661d")
    assert by_id.body == b"not utf-8 name\n"


@pytest.mark.parametrize("oid", ["1" * 40, "zz", "bdaca511"])
def test_a_blob_that_is_not_there_is_an_error_of_the_web_face(forge: Forge, oid: str) -> None:
    assert get(forge, f"/alice/blog/raw/blob/{oid}").status == 500


def test_the_old_form_of_raw_leads_to_the_new(forge: Forge) -> None:
    received = get(forge, "/alice/blog/raw/feature/x/public/index.html")
    assert received.header("Location") == "/alice/blog/raw/branch/feature/x/public/index.html"
    assert b"Feature x" in get(forge, str(received.header("Location"))).body
    assert get(forge, "/alice/blog/raw/tag/v1/public/index.html").status == 200


def test_web_errors_are_pages_for_browsers_only(forge: Forge) -> None:
    assert get(forge, "/alice/blog/raw/branch/main/absent").body == b"Not found.\n"
    assert b"<html" in get(forge, "/alice/blog/raw/branch/main/absent", {"Accept": "text/html"}).body


def test_permissions_are_told_to_those_who_may_know(forge: Forge) -> None:
    base = "/api/v1/repos/alice/secret/collaborators"
    assert get(forge, f"{base}/bob/permission", ALICE).json()["permission"] == "none"
    assert get(forge, f"{base}/alice/permission", ALICE).json()["permission"] == "owner"
    forge.settings("alice/secret").readers = frozenset({"bob"})
    assert get(forge, f"{base}/bob/permission", ALICE).json()["permission"] == "read"
    bob = {"Authorization": f"token {TOKENS['bob']}"}
    assert get(forge, f"{base}/bob/permission", bob).json()["permission"] == "read"
    assert get(forge, f"{base}/alice/permission", bob).status == 403


def test_a_repository_is_found_by_its_number_by_those_signed_in(forge: Forge) -> None:
    assert get(forge, "/api/v1/repositories/17").status == 401
    assert get(forge, "/api/v1/repositories/17", ALICE).json()["full_name"] == "alice/secret"
    bob = {"Authorization": f"token {TOKENS['bob']}"}
    assert get(forge, "/api/v1/repositories/17", bob).status == 404
    assert get(forge, "/api/v1/repositories/999", ALICE).status == 404


def test_a_blob_that_the_client_has_is_not_looked_for(forge: Forge) -> None:
    assert get(forge, f"/alice/blog/raw/blob/{'1' * 40}", {"If-None-Match": f'"{"1" * 40}"'}).status == 304


def test_a_broken_repository_is_not_there_and_harms_no_other(tmp_path: Path) -> None:
    Site(tmp_path / "alice" / "good.git", {"a": b"1"}).close()
    for part in ("HEAD", "config", "refs/x", "objects/x"):
        (tmp_path / "alice" / "bad.git" / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "alice" / "bad.git" / part).write_bytes(b"[broken")
    with start_forge(tmp_path) as forge:
        assert get(forge, "/api/v1/repos/alice/bad").status == 404
        assert get(forge, "/api/v1/repos/alice/good").status == 200
        assert get(forge, "/api/v1/repos/search").json()["data"][0]["name"] == "good"


# -- counting ----------------------------------------------------------------------------------------------------------


def test_every_call_is_counted(forge: Forge) -> None:
    get(forge, f"{REPOSITORY}/branches/main")
    get(forge, f"{REPOSITORY}/branches/main", ALICE)
    get(forge, f"{REPOSITORY}/git/blobs/{FIRST}?x=y")
    assert forge.count() == 3
    assert forge.count("/branches/") == 2
    assert forge.counts()["GET", f"{REPOSITORY}/branches/main"] == 2
    assert [call.credentials for call in forge.calls] == [False, True, False]
    forge.forget_calls()
    assert forge.count() == 0


# -- faults ------------------------------------------------------------------------------------------------------------


def test_a_fault_concerns_its_paths_and_times_only(forge: Forge) -> None:
    with forge.fault("/branches/", status=503, times=1) as fault:
        assert get(forge, REPOSITORY).status == 200
        assert [get(forge, f"{REPOSITORY}/branches/main").status for _ in range(2)] == [503, 200]
        assert fault.used == 1
    with forge.fault(status=500):
        assert get(forge, REPOSITORY).status == 500
    assert get(forge, REPOSITORY).status == 200
    forge.fault(status=500)
    forge.heal()
    assert get(forge, REPOSITORY).status == 200


def test_a_web_page_comes_instead_of_json(forge: Forge) -> None:
    forge.fault(**html_instead(502))
    received = get(forge, REPOSITORY)
    assert (received.status, received.header("Content-Type")) == (502, "text/html; charset=utf-8")
    assert received.body.startswith(b"<!DOCTYPE html>")
    assert len(received.body) == int(str(received.header("Content-Length")))


def test_a_document_may_lie(forge: Forge) -> None:
    def more(document: dict[str, Any]) -> dict[str, Any]:
        return document | {"total_count": 10**9}

    forge.fault("/git/trees/", document=more)
    assert get(forge, f"{REPOSITORY}/git/trees/main").json()["total_count"] == 10**9


@pytest.mark.parametrize("target", [f"{REPOSITORY}/branches/main", REPOSITORY, f"/alice/blog/raw/blob/{BIG}"])
def test_a_body_breaks_off(forge: Forge, target: str) -> None:
    forge.fault(truncate=100)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        get(forge, target)


def test_a_connection_is_dropped_without_an_answer(forge: Forge) -> None:
    with forge.fault(drop=True), pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        get(forge, REPOSITORY)
    assert get(forge, REPOSITORY).status == 200


def test_an_answer_is_late_or_slow(forge: Forge) -> None:
    started = time.monotonic()
    with forge.fault(delay=0.2):
        assert get(forge, "/api/v1/version").status == 200
    assert time.monotonic() - started >= 0.2
    started = time.monotonic()
    with forge.fault(pace=0.02, piece=4):
        assert get(forge, "/api/v1/version").json() == {"version": "16.0.0+gitea-1.22.0"}
    assert time.monotonic() - started >= 0.1


def test_a_hanging_answer_ends_when_the_client_leaves(forge: Forge) -> None:
    forge.fault(hang=True)
    with socket.create_connection((forge.host, forge.port)) as client:
        client.sendall(b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: forge.in_flight == 1)
    wait_until(lambda: forge.in_flight == 0)
    assert forge.most_at_once == 1


# -- life --------------------------------------------------------------------------------------------------------------


def test_a_forge_that_was_stopped_can_come_back_at_its_port(forge: Forge) -> None:
    port = forge.port
    with socket.create_connection((forge.host, port)) as client:
        client.sendall(b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(100)
        forge.stop()
        client.settimeout(5)
        while client.recv(65536):
            pass
    with pytest.raises(OSError, match="refused"):
        get(forge, REPOSITORY)
    forge.start_thread(port)
    assert get(forge, f"{REPOSITORY}/branches/main").status == 200


async def test_a_forge_serves_on_the_running_loop(repositories: Path) -> None:
    forge = Forge(repositories)
    forge.start()
    reader, writer = await asyncio.open_connection(forge.host, forge.port)
    for _ in range(2):  # the connection is kept
        writer.write(b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert json.loads(await reader.readexactly(34)) == {"version": "16.0.0+gitea-1.22.0"}
    forge.stop()
    assert await reader.read() == b""
    writer.close()


def test_a_slow_reader_holds_back_the_sender(tmp_path: Path) -> None:
    size = 64 * 1024 * 1024
    data = noise(1024 * 1024, 3) * (size // 1024 // 1024)
    site = Site(tmp_path / "alice" / "big.git", {"big": data})
    with start_forge(tmp_path) as forge:
        with socket.create_connection((forge.host, forge.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.sendall(f"GET /alice/big/raw/blob/{site.blob_id(data)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_until(lambda: forge.bytes_sent > 0)
            # Others are served meanwhile, and what is sent stays what the socket buffers hold.
            for _ in range(20):
                assert get(forge, "/api/v1/repos/alice/big/branches/main").status == 200
            wait_until(lambda: forge.in_flight == 1)
            assert forge.bytes_sent < size // 4
        wait_until(lambda: forge.in_flight == 0)


def test_a_large_file_arrives_whole_loose_packed_or_as_lfs_object(tmp_path: Path) -> None:
    data = noise(5_000_000, 8)
    many = {f"f{number}": b"%d" % number for number in range(600)}
    Site(tmp_path / "alice" / "loose.git", {"big": data})
    Site(tmp_path / "alice" / "packed.git", many | {"big": data})
    Site(tmp_path / "alice" / "lfs.git", {"big": lfs_pointer(data)}).upload_lfs(data)
    with start_forge(tmp_path) as forge:
        for name in ("loose", "packed", "lfs"):
            target = f"/api/v1/repos/alice/{name}/media/big?ref=main"
            assert get(forge, target).body == data
            assert get(forge, target, {"Range": "bytes=4000000-4100000"}).body == data[4_000_000:4_100_001]
