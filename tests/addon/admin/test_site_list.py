# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The list of sites: of one process what memory holds, of several one row a site, sorted by what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from addon.admin.answer_meter import HTTP1, LANE, AnswerMeter
from addon.admin.site_list import SORTED_BY, arranged, merged, rows
from addon.admin.status_page import page
from addon.web.prepared_answers import NOTHING, About
from tests.addon.preview.sites import Site
from tests.addon.serving.pages import serving, start_forge


async def test_sites_are_told_with_their_commit_size_hits_and_last_error(tmp_path: Path) -> None:
    blog = Site(tmp_path / "alice" / "blog.git", {".pages": b"enabled: true\n", "public/index.html": b"12345"})
    Site(tmp_path / "bob" / "broken.git", {".pages": b"enabled: [\n", "public/index.html": b"x"})
    with start_forge(tmp_path) as forge:
        meter = AnswerMeter(lambda: 77.0)
        async with serving(forge) as pages:
            for owner, path in (("alice", "/blog/"), ("alice", "/blog/no"), ("bob", "/broken/"), ("zed", "/x/")):
                request = pages.request(owner, path)
                answer = await pages.server.answer(request)
                meter.count(LANE, HTTP1, answer.status, answer.cache, answer.about, request.host or "", request.path)
            found = {row["site"]: row for row in rows(pages.library, meter)}
    assert set(found) == {"alice/blog", "bob/broken"}, "what is no site is not listed"
    assert found["alice/blog"]["commit"] == blog.head()
    assert (found["alice/blog"]["files"], found["alice/blog"]["bytes"], found["alice/blog"]["hits"]) == (1, 5, 2)
    assert found["bob/broken"]["state"] == "its .pages file cannot be read"
    error = found["bob/broken"]["error"]
    assert (error["at"], error["status"], error["reason"]) == (77.0, 500, "broken site")
    assert "bob/broken/.pages, line" in error["detail"]
    assert meter.collect()["refusals"] == {"no file": 1, "broken site": 1, "no site": 1}


def row(site: str, **more: Any) -> dict[str, Any]:
    known = {"site": site, "commit": "a" * 40, "age": 5.0, "files": 1, "bytes": 10, "hits": 1, "state": "served"}
    return known | {"freshness": "fresh", "trouble": None, "locked": False, "domains": [], "error": None} | more


def test_processes_are_one_list_and_who_has_not_seen_a_push_is_named() -> None:
    late = {"at": 9.0, "status": 502, "detail": "", "reason": "forgejo"}
    first = [row("a/b", hits=5, error={**late, "at": 3.0}), row("c/d")]
    other = [row("a/b", hits=2, age=1.0, commit="b" * 40, error=late)]
    found = {each["site"]: each for each in merged([first, other])}
    assert found["a/b"]["hits"] == 7
    assert (found["a/b"]["commit"], found["a/b"]["older_commit"]) == ("b" * 40, "a" * 40)
    assert found["a/b"]["error"] == late
    assert found["c/d"]["hits"] == 1


@pytest.mark.parametrize("by", SORTED_BY)
def test_the_largest_or_latest_comes_first(by: str) -> None:
    error = {"at": 9.0, "status": 502, "detail": "", "reason": "forgejo"}
    small = row("z/small", hits=1, age=1.0, files=1, bytes=None)
    large = row("a/large", hits=9, age=9.0, files=9, bytes=9, error=error)
    assert [each["site"] for each in arranged([small, large], by, 10)] == ["a/large", "z/small"]
    assert len(arranged([small, large], by, 1)) == 1


TOLD: dict[str, Any] = {
    "Server": {"version": "1", "pages_domain": "pages.test", "running_seconds": 7200},
    "Parts": {
        "Redis": {"light": "yellow", "says": "gives no answer", "since": 40.0, "remedy": "Is it up?"},
        "Processes": {"light": "green", "says": "1 of 1 answer", "since": 0.0},
        "Forgejo": {"light": "red", "says": "no answer", "since": 10.0, "remedy": "Start it."},
    },
    "Memory": {"used_bytes": 2048, "hit_rate": 0.5, "latency_ms": None, "client_tracking": True},
    "Sites": {"a/b@x": row("a/b@x", state="broken"), "c/d": row("c/d", trouble="Forgejo answered 502")},
    "Domains that need something": {},
    "Last errors": {
        "errors": [{"at": 95.0, "status": 500, "site": "", "address": "x/", "detail": "", "reason": "fault"}]
    },
}
"""A status in which something is wrong."""


def test_the_page_has_words_for_what_is_wrong_first() -> None:
    shown = page(TOLD, still=True, every=10, now=100.0)
    assert shown.headline == "Forgejo: broken"
    assert [each["part"] for each in shown.components] == ["Forgejo", "Redis", "Processes"]
    assert shown.components[0]["since"] == "for 90 seconds"
    assert [site["bad"] for site in shown.sites] == [True, True]
    assert shown.sites[0]["repository"] == "a/b"
    assert dict(shown.sections[1][1]) == {
        "used bytes": "2.0 KB",
        "hit rate": "50.0%",
        "an answer takes": "–",
        "client tracking": "yes",
    }
    assert shown.errors[0]["ago"] == "5 seconds ago"


def test_kinds_beyond_the_bound_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("addon.admin.answer_meter._MOST_KINDS", 3)
    meter = AnswerMeter()
    for number in range(10):
        meter.count(LANE, HTTP1, 200, "HIT", About(f"o/{number}"))
    meter.count(LANE, HTTP1, 404, "", NOTHING)
    assert meter.sites()["others"] == 7
    assert len(meter.sites()) <= 4
    assert meter.answered(LANE) == 11


def test_a_server_all_of_whose_answers_are_faults_is_not_well() -> None:
    meter = AnswerMeter()

    def answer(status: int, times: int) -> None:
        for _ in range(times):
            meter.count(LANE, HTTP1, status, "", NOTHING)

    answer(500, 19)
    assert not meter.only_faults(0.0)
    answer(500, 30)
    assert meter.only_faults(10.0)
    answer(200, 1)
    assert not meter.only_faults(20.0)
    answer(500, 30)
    assert not meter.only_faults(61.0), "there was a page within that minute"
    answer(500, 30)
    assert meter.only_faults(125.0)
    answer(502, 1)
    assert not meter.only_faults(126.0), "Forgejo's faults are not ours"
