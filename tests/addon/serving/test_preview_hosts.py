# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Previews as visitors meet them: which there are, whose they are, what marks them, and when they are gone."""

import asyncio
import base64
import hashlib
import hmac
import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from addon.admin.webhook import Delivery, Webhook
from addon.preview.forge import Forge
from addon.preview.pull_requests import PullRequest
from addon.preview.settings import RepositorySettings, Token
from addon.serving.answers import Request
from addon.web import preview_labels
from tests.addon.preview.recordings import pull_webhooks
from tests.addon.preview.sites import DAY, EPOCH, Site
from tests.addon.serving.pages import TODAY, VISITOR, Serving, serving
from tests.waiting import until

DOMAIN = "preview.test"
SECRET = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # of `secret`, as the origin has it
OWN = b"enabled: true\npreviews:\n  branches: all\n  commits: true\n  pulls: own\n"
ALL = OWN.replace(b"own", b"all")
TOKEN = "e7" * 20


class Project:
    """A repository with branches, forks' commits and pull requests, on a forge of its own."""

    def __init__(self, root: Path, pages: bytes = OWN, name: str = "site", **settings: Any) -> None:
        self.site = Site(root / "alice" / f"{name}.git", self.files("main", pages))
        self.settings = RepositorySettings(updated="2026-05-28T10:00:00Z", **settings)
        tokens = {TOKEN: Token("alice", frozenset({"read:repository", "write:repository"}))}
        self.forge = Forge(root, repositories={f"alice/{name}": self.settings}, tokens=tokens)

    def files(self, text: str, pages: bytes = OWN) -> dict[str, bytes]:
        return {".pages": pages, "public/index.html": f"<h1>{text}</h1>".encode(), "public/same.txt": b"the same\n"}

    def pages(self, text: bytes) -> None:
        """Another `.pages` on the default branch."""
        self.site.commit({".pages": text})

    def branch(self, name: str, text: str) -> str:
        """A push to a branch."""
        return self.site.commit({"public/index.html": f"<h1>{text}</h1>"}, branch=name, parent=self.site.head())

    def strange(self, text: str, **more: bytes) -> str:
        """A commit that is on no branch: a fork's, or one pushed by AGit."""
        files = {"public/index.html": f"<h1>{text}</h1>".encode()} | {f"public/{n}": d for n, d in more.items()}
        commit = self.site.commit(files, branch="elsewhere", parent=self.site.head())
        self.site.delete_branch("elsewhere")
        return commit

    def pull(self, commit: str, **options: Any) -> PullRequest:
        """An open pull request."""
        pull = PullRequest(len(self.settings.pulls) + 1, commit, **options)
        self.settings.pulls.append(pull)
        return pull


@asynccontextmanager
async def shown(project: Project, **options: Any) -> AsyncIterator[Serving]:
    project.forge.start()
    try:
        async with serving(project.forge, **{"previewDomain": DOMAIN, "previewTTL": "3000d", **options}) as serves:
            yield serves
    finally:
        project.forge.stop()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def at(label: str) -> str:
    return f"{label}.{DOMAIN}"


async def delivered(serves: Serving, *, name: str = "site") -> None:
    """A webhook has come: the purge that it causes is under way."""
    await serves.library.purge(("alice", name))


async def test_a_branch_a_commit_and_an_own_pull_request_have_addresses_of_their_own(project: Project) -> None:
    branch = project.branch("feature-x", "the branch")
    slashed = project.branch("feature/x", "the other branch")
    project.pull(branch, branch="feature-x")
    label = preview_labels.branch_label("feature/x", "site", "alice")
    async with shown(project) as serves:
        for host, text in {
            "feature-x--site--alice": "the branch",
            "pr-1--site--alice": "the branch",
            f"{branch[:10]}--site--alice": "the branch",
            f"{slashed[:24]}--site--alice": "the other branch",
            str(label): "the other branch",
            "main--site--alice": "main",
        }.items():
            reply = await serves.get(at(host))
            assert (reply.status, reply.text) == (200, f"<h1>{text}</h1>"), host
            assert reply.headers["x-robots-tag"] == "noindex"
            assert reply.headers["cache-control"] == "no-cache"
            assert reply.headers["x-pages-preview"] == host
        assert (await serves.get("alice", "/site/")).text == "<h1>main</h1>"
        for host in (
            "feature-y--site--alice",
            "pr-2--site--alice",
            "0123456789--site--alice",
            "x--y",
            "a.b--site--alice",
        ):
            reply = await serves.get(at(host))
            assert reply.status == 404, host
            assert reply.headers["x-robots-tag"] == "noindex"
        assert (await serves.get(DOMAIN)).status == 404
        again = await serves.get(at("pr-1--site--alice"))
        assert again.recalled
        assert (await serves.get(at("pr-1--site--alice"), if_none_match=again.headers["etag"])).status == 304


async def test_nothing_is_previewed_that_the_default_branch_does_not_name(project: Project) -> None:
    project.pages(b"enabled: true\n")
    head = project.site.commit({".pages": ALL, "public/index.html": "mine"}, branch="other", parent=project.site.head())
    project.pull(head)
    async with shown(project) as serves:
        for host in ("other--site--alice", "pr-1--site--alice", f"{head[:10]}--site--alice"):
            assert (await serves.get(at(host))).status == 404
        assert not project.forge.count("pulls|refs/heads")
        project.pages(b"enabled: true\npreviews:\n  branches: [o*r, 'x/*']\n")
        await delivered(serves)
        assert (await serves.get(at("other--site--alice"))).text == "mine"
        assert (await serves.get(at("main--site--alice"))).status == 404
        assert (await serves.get(at("pr-1--site--alice"))).status == 404
        assert (await serves.get(at(f"{head[:10]}--site--alice"))).status == 404


async def test_without_the_operator_there_are_no_previews(project: Project) -> None:
    project.forge.start()
    async with serving(project.forge) as serves:
        assert (await serves.get(at("main--site--alice"))).status in (400, 404)
    project.forge.stop()


STRANGERS = [
    {"source": "bob/site", "by": "bob"},
    {"flow": 1, "by": "bob", "branch": "agit-topic"},
    {"source": "carol/site", "by": "carol", "gone": True},
]


@pytest.mark.parametrize("kind", STRANGERS, ids=["fork", "agit", "fork deleted"])
async def test_a_strangers_pull_request_is_shown_only_where_the_owner_takes_all(
    project: Project, kind: dict[str, Any]
) -> None:
    Site(project.forge.registry.root / "bob" / "site.git", {"x": b"y"})  # type: ignore[operator]  # it has a folder
    head = project.strange("a stranger's")
    project.pull(head, **kind)
    async with shown(project) as serves:
        assert (await serves.get(at("pr-1--site--alice"))).status == 404
        # Forgejo reads it by its base; that makes it nobody's here.
        assert (await serves.get(at(f"{head[:10]}--site--alice"))).status == 404
        assert (await serves.get(at(f"{head}--site--alice"))).status == 404
        project.pages(ALL)
        await delivered(serves)
        assert (await serves.get(at("pr-1--site--alice"))).text == "<h1>a stranger's</h1>"
        assert (await serves.get(at(f"{head[:10]}--site--alice"))).status == 404


async def test_what_has_no_history_in_common_is_reachable_from_nothing(project: Project) -> None:
    orphan = project.site.commit({"public/index.html": "orphan"}, branch="orphan", keep=False)
    alone = Site(project.site.path)  # an orphan commit on no branch
    project.site.delete_branch("orphan")
    async with shown(project) as serves:
        assert (await serves.get(at(f"{orphan[:12]}--site--alice"))).status == 404
    alone.close()


CONSENTS: dict[str, tuple[list[str], bool]] = {
    "labelled by who may": (["label"], True),
    "another label": (["label other"], False),
    "label taken away": (["label", "unlabel"], False),
    "label taken away and put again": (["label", "unlabel", "label"], True),
    "label, then a push": (["label", "push"], False),
    "label, a push, label again": (["label", "push", "unlabel", "label"], True),
    "label, closed and reopened": (["label", "close", "reopen"], False),
    "label, pushed there and back": (["label", "push", "back"], False),
    "approved by anybody": (["approve carol"], False),
    "approved officially": (["approve alice"], True),
    "approval of an older head": (["approve alice", "push"], False),
    "approved, then reopened": (["approve alice", "close", "reopen"], False),
    "approved, pushed there and back": (["approve alice", "push", "back"], False),
    "approval dismissed": (["approve alice", "dismiss"], False),
    "reopened, then approved": (["close", "reopen", "approve alice"], True),
    "talked about": (["label", "comment", "comment"], True),
    "something happened that the forge cannot tell": (["label", "untold"], False),
    "something untold, then approved": (["untold", "approve alice"], True),
}
"""What is done to a stranger's pull request, and whether it is shown then."""


@pytest.mark.parametrize("name", CONSENTS)
async def test_a_consent_is_to_one_commit_as_it_was_seen(project: Project, name: str) -> None:
    acts, expected = CONSENTS[name]
    first = project.strange("first")
    pull = project.pull(first, source="bob/site", by="bob")
    async with shown(project) as serves:
        assert (await serves.get(at("pr-1--site--alice"))).status == 404
        for act in acts:
            verb, _, what = act.partition(" ")
            match verb:
                case "label":
                    pull.label(what or "preview")
                case "unlabel":
                    pull.unlabel("preview")
                case "push":
                    pull.push(project.strange("second"))
                case "back":
                    pull.push(first, force=True)
                case "approve":
                    pull.approve(what, official=what == "alice")
                case "dismiss":
                    pull.reviews[-1].dismissed = True
                case "close":
                    pull.close()
                case "reopen":
                    pull.reopen()
                case "comment":
                    pull.comment()
                case "untold":
                    pull.events.append({})
            await delivered(serves)
        reply = await serves.get(at("pr-1--site--alice"))
        assert reply.status == (200 if expected else 404)
        if expected:
            assert reply.text == ("<h1>second</h1>" if "push" in acts else "<h1>first</h1>")


async def test_a_label_of_the_day_it_was_opened_is_its_authors_own(project: Project) -> None:
    project.pull(project.strange("x"), source="bob/site", by="bob", labels=["preview"])
    async with shown(project) as serves:
        assert (await serves.get(at("pr-1--site--alice"))).status == 404


async def test_who_waits_for_a_preview_is_told_what_it_takes(project: Project) -> None:
    project.pull(project.strange("x"), source="bob/site", by="bob")
    async with shown(project) as serves:
        reply = await serves.get(at("pr-1--site--alice"), accept="text/html")
        assert (reply.status, "until somebody who can write labels it" in reply.text) == (404, True)


async def test_a_head_whose_push_is_not_noted_yet_is_not_the_one_that_was_seen(project: Project) -> None:
    pull = project.pull(project.strange("seen"), source="bob/site", by="bob")
    pull.label("preview")
    pull.head = project.strange("not seen")  # between Forgejo's two steps
    async with shown(project) as serves:
        assert (await serves.get(at("pr-1--site--alice"))).status == 404


async def test_a_pull_request_that_is_talked_to_pieces_is_closed(project: Project) -> None:
    pull = project.pull(project.strange("x"), source="bob/site", by="bob")
    pull.label("preview")
    for _ in range(400):
        pull.comment()
    async with shown(project) as serves:
        assert (await serves.get(at("pr-1--site--alice"))).status == 404
        assert project.forge.count("timeline") == 6


async def test_only_the_head_that_forgejo_names_is_shown_and_gone_is_gone(project: Project) -> None:
    first = project.branch("topic", "first")
    pull = project.pull(first, branch="topic")
    async with shown(project) as serves:
        host = at("pr-1--site--alice")
        assert (await serves.get(host)).text == "<h1>first</h1>"
        second = project.branch("topic", "second")
        pull.push(second)
        assert (await serves.get(host)).text == "<h1>first</h1>"  # nobody has said anything yet
        await delivered(serves)
        assert (await serves.get(host)).text == "<h1>second</h1>"
        assert (await serves.get(at("topic--site--alice"))).text == "<h1>second</h1>"
        pull.close()
        await delivered(serves)
        assert (await serves.get(host)).status == 404
        pull.reopen()
        await delivered(serves)
        assert (await serves.get(host)).text == "<h1>second</h1>"
        pull.close(merged=True)
        project.site.delete_branch("topic")
        await delivered(serves)
        assert (await serves.get(host)).status == 404
        assert (await serves.get(at("topic--site--alice"))).status == 404
        assert (await serves.get(at(f"{first[:10]}--site--alice"))).status == 404


async def test_a_branch_that_is_renamed_takes_its_address_along_and_leaves_the_pull_requests(project: Project) -> None:
    head = project.branch("before", "text")
    pull = project.pull(head, branch="before")
    async with shown(project) as serves:
        assert (await serves.get(at("before--site--alice"))).status == 200
        project.site.point("after", head)
        project.site.delete_branch("before")
        pull.branch = "after"
        await delivered(serves)
        for label, status in (("before", 404), ("after", 200), ("pr-1", 200), (head[:10], 200)):
            assert (await serves.get(at(f"{label}--site--alice"))).status == status
        project.site.delete_branch("after")  # and with it, at Forgejo, the pull request
        pull.gone = True
        pull.close()
        await delivered(serves)
        for label in ("after", "pr-1", head[:10]):
            assert (await serves.get(at(f"{label}--site--alice"))).status == 404


async def test_without_webhooks_the_next_look_finds_it(project: Project) -> None:
    async with shown(project, cacheTTL=60) as serves:
        assert (await serves.get(at("pr-1--site--alice"))).status == 404
        pull = project.pull(project.branch("topic", "topic"), branch="topic")
        assert (await serves.get(at("pr-1--site--alice"))).status == 404
        serves.clock.pass_(61)
        assert (await serves.get(at("pr-1--site--alice"))).status == 200
        pull.close()
        serves.clock.pass_(61)
        assert (await serves.get(at("pr-1--site--alice"))).status == 404


async def test_while_forgejo_is_away_what_has_changed_is_closed_and_the_rest_stays(
    project: Project,
) -> None:
    project.pull(project.branch("topic", "topic"), branch="topic")
    async with shown(project, cacheTTL=60, forgejoTimeout=1) as serves:
        host = at("pr-1--site--alice")
        assert (await serves.get(host)).status == 200
        with project.forge.fault("", status=500):
            serves.clock.pass_(61)
            assert (await serves.get(host)).status == 200
            serves.clock.pass_(60)
            assert (await serves.get(host)).status == 502
        serves.clock.pass_(5)
        assert (await serves.get(host)).status == 200
        with project.forge.fault("pulls", status=500):
            await delivered(serves)
            assert (await serves.get(host)).status == 502


async def test_a_preview_costs_its_changed_files_only(project: Project) -> None:
    project.branch("topic", "topic")
    async with shown(project) as serves:
        for target in ("/site/", "/site/same.txt"):
            assert (await serves.get("alice", target)).status == 200
        serves.asked()
        assert (await serves.get(at("topic--site--alice"))).status == 200
        asked = [re.sub("[0-9a-f]{40}", "ID", target) for target in serves.asked()]
        assert asked == [
            "alice/site/git/refs/heads",
            "alice/site/pulls",
            "alice/site/git/commits/ID",
            "alice/site/git/trees/ID",
            "alice/site/git/blobs/ID",
        ]
        assert (await serves.get(at("topic--site--alice"), "/same.txt")).text == "the same\n"
        assert serves.count() == 0


async def test_what_is_too_old_is_gone(project: Project) -> None:
    old = project.site.commit({"public/index.html": "old"}, branch="old", when=TODAY - 40 * DAY)
    project.site.commit({"public/index.html": "new"}, branch="new", when=TODAY - 20 * DAY)
    pull = project.pull(old, branch="old")
    async with shown(project, previewTTL="30d") as serves:
        assert (await serves.get(at("old--site--alice"))).status == 404
        assert (await serves.get(at("new--site--alice"))).status == 200
        assert (await serves.get(at(f"{old[:10]}--site--alice"))).status == 404
        serves.today.pass_(11 * DAY)
        assert (await serves.get(at("new--site--alice"))).status == 404
        pull.day = "2100-01-01"
        await delivered(serves)
        assert (await serves.get(at("pr-1--site--alice"))).text == "old"


async def test_a_thousand_previews_cost_two_kinds_of_calls_and_little_memory(project: Project) -> None:
    head = project.branch("base", "base")
    for number in range(40):
        project.site.point(f"branch-{number:02}", head)
    for _ in range(970):
        project.pull(head, branch="base")
    async with shown(project, maxPreviews=1000) as serves:
        assert (await serves.get("alice", "/site/")).status == 200
        before = serves.library.memory.used
        serves.asked()
        assert (await serves.get(at("pr-970--site--alice"))).status == 200
        asked = serves.asked()
        assert (asked.count("alice/site/git/refs/heads"), asked.count("alice/site/pulls")) == (1, 20)
        assert len(asked) == 24
        assert serves.library.memory.used - before < 1_000_000
        assert (await serves.get(at("branch-20--site--alice"))).status == 200
        assert (await serves.get(at("main--site--alice"))).status == 404  # above maxPreviews: pulls go first
        for number in range(1, 970, 97):
            assert (await serves.get(at(f"pr-{number}--site--alice"))).status == 200
        assert serves.count() == 0


async def test_however_many_strangers_open_the_repositorys_own_have_room_and_few_are_asked_about(
    project: Project,
) -> None:
    project.pull(project.branch("own", "own"), branch="own")
    stranger = project.strange("x")
    for _ in range(140):
        project.pull(stranger, source="bob/site", by="bob")
    labelled = project.settings.pulls[1]  # the oldest of theirs
    labelled.label("preview")
    async with shown(project, maxPreviews=2) as serves:
        for host in ("pr-1", "pr-2"):
            assert (await serves.get(at(f"{host}--site--alice"))).status == 200
        assert (project.forge.count("/reviews"), project.forge.count("/timeline")) == (100, 2)
        assert (await serves.get(at("pr-141--site--alice"))).status == 404
        project.forge.forget_calls()
        await delivered(serves)
        assert (await serves.get(at("pr-2--site--alice"))).status == 200
        assert project.forge.count("/reviews") == 40  # what has not changed is known
        project.pages(ALL)
        await delivered(serves)
        assert [(await serves.get(at(f"pr-{number}--site--alice"))).status for number in (1, 141, 140)] == [
            200,
            200,
            404,
        ]


async def test_labels_that_two_branches_could_mean_are_neithers(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.branch("Same", "one")
    project.branch("same!", "two")
    monkeypatch.setattr(preview_labels, "_shortened", lambda name, room: "same-0aaaaaaaa")
    async with shown(project) as serves:
        assert (await serves.get(at("same-0aaaaaaaa--site--alice"))).status == 404


async def test_a_repository_without_room_in_a_label_is_found_among_its_owners(tmp_path: Path) -> None:
    name = "the-documentation-of-the-whole-project-with-all-its-parts"
    project = Project(tmp_path, name=name)
    label = preview_labels.branch_label("main", name, "alice")
    assert label is not None
    assert len(label) <= 63
    assert name not in label
    async with shown(project) as serves:
        assert (await serves.get(at(label))).text == "<h1>main</h1>"
        serves.asked()
        assert (await serves.get(at(label))).status == 200
        assert serves.count() == 0
        other = label.replace("the-documentation", "a-documentation")
        assert (await serves.get(at(other))).status == 404


async def test_a_login_of_the_site_counts_at_no_preview_and_none_of_a_preview_elsewhere(tmp_path: Path) -> None:
    project = Project(tmp_path, OWN + f"password: {SECRET}\n".encode())
    project.branch("one", "one")
    project.branch("two", "two")
    async with shown(project) as serves:
        cookies = {}
        for host, target in (("alice", "/site/"), (at("one--site--alice"), "/")):
            assert (await serves.get(host, target, accept="text/html")).status == 401
            serves.body = b"password=secret"
            reply = await serves.get(host, target, "POST", content_type="application/x-www-form-urlencoded")
            serves.body = None
            assert reply.status == 303
            cookies[host] = reply.headers["set-cookie"].partition(";")[0]
        one = at("one--site--alice")
        assert (await serves.get(one, cookie=cookies[one])).text == "<h1>one</h1>"
        assert "private" in (await serves.get(one, cookie=cookies[one])).headers["cache-control"]
        assert (await serves.get(one, cookie=cookies["alice"], accept="text/html")).status == 401
        assert (await serves.get(at("two--site--alice"), cookie=cookies[one], accept="text/html")).status == 401
        assert (await serves.get("alice", "/site/", cookie=cookies[one], accept="text/html")).status == 401
        # Whether there is such a preview is told to nobody who may not see it.
        assert (await serves.get(at("none--site--alice"), accept="text/html")).status == 401


async def test_a_private_repository_has_previews_only_behind_its_lock(tmp_path: Path) -> None:
    pages = OWN + b"publish_private: true\n"
    project = Project(tmp_path, pages, private=True)
    project.branch("topic", "topic")
    async with shown(project, token=TOKEN, servePrivateRepositories=True) as serves:
        assert (await serves.get("alice", "/site/")).status == 200
        assert (await serves.get(at("topic--site--alice"))).status == 404
        assert "previews" not in (await serves.get("alice", "/.pages/site.json")).text
        project.pages(pages + f"branchesPassword: {SECRET}\n".encode())
        await delivered(serves)
        assert (await serves.get(at("topic--site--alice"), accept="text/html")).status == 401
        basic = "Basic " + base64.b64encode(b"x:secret").decode()
        reply = await serves.get(at("topic--site--alice"), authorization=basic)
        assert (reply.status, reply.text) == (200, "<h1>topic</h1>")
        project.settings.private = False
        await delivered(serves)


async def test_for_members_a_preview_asks_for_the_same_right_as_the_site(tmp_path: Path) -> None:
    project = Project(tmp_path, OWN + b"access: members\n", private=True)
    project.branch("topic", "topic")
    stranger = "f9" * 20
    project.forge.tokens[stranger] = Token("bob", frozenset({"read:repository", "read:user"}))
    project.forge.tokens[TOKEN] = Token("alice", frozenset({"read:repository", "read:user"}))
    login = {"oauthClientId": "3a61", "oauthClientSecret": "gto_x", "servePrivateRepositories": True}
    async with shown(project, token=TOKEN, **login) as serves:
        topic = at("topic--site--alice")
        assert (await serves.get(topic)).status == 401
        assert (await serves.get(topic, authorization=f"Bearer {TOKEN}")).text == "<h1>topic</h1>"
        assert "private" in (await serves.get(topic, authorization=f"Bearer {TOKEN}")).headers["cache-control"]
        refused = await serves.get(topic, authorization=f"Bearer {stranger}")
        missing = await serves.get(at("topic--none--alice"), authorization=f"Bearer {stranger}")
        assert (refused.status, refused.text) == (missing.status, missing.text) == (404, missing.text)
        assert (await serves.get(at("none--site--alice"))).status == 401
        project.pages(OWN + f"access: members\nbranchesPassword: {SECRET}\n".encode())
        await delivered(serves)
        basic = "Basic " + base64.b64encode(b"x:secret").decode()
        assert (await serves.get(topic, authorization=basic)).text == "<h1>topic</h1>"


@pytest.mark.parametrize(("scopes", "status"), [(("read:issue",), 200), ((), 404)])
async def test_consents_in_a_private_repository_are_read_by_a_token_with_the_scope_for_issues(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, scopes: tuple[str, ...], status: int
) -> None:
    project = Project(tmp_path, OWN + b"access: members\n", private=True)
    project.forge.tokens[TOKEN] = Token("alice", frozenset({"read:repository", *scopes}))
    project.pull(project.strange("x"), flow=1, by="bob").label("preview")
    login = {"oauthClientId": "3a61", "oauthClientSecret": "gto_x", "servePrivateRepositories": True}
    async with shown(project, token=TOKEN, **login) as serves:
        assert (await serves.get(at("pr-1--site--alice"), authorization=f"Bearer {TOKEN}")).status == status
    assert ("does forgejoToken have the scope read:issue?" in caplog.text) == (status == 404)


async def test_a_bar_stands_on_pages_where_the_owner_wants_it(project: Project) -> None:
    project.pages(OWN + "  banner: Für <Tests>\n".encode())
    project.site.commit({"public/index.html": "<h1>main</h1>" + "x" * 2000, "public/404.html": "none"})
    async with shown(project) as serves:
        host = at("main--site--alice")
        reply = await serves.get(host, accept_encoding="gzip, br", range="bytes=0-3")
        assert reply.status == 200
        assert reply.text.startswith("<h1>main</h1>xxx")
        assert "F&#252;r &lt;Tests&gt;" in reply.text
        assert "content-encoding" not in reply.headers
        assert int(reply.headers["content-length"]) == len(reply.body)
        head = await serves.get(host, method="HEAD")
        assert (head.body, head.headers["content-length"]) == (b"", str(len(reply.body)))
        again = await serves.get(host, if_none_match=reply.headers["etag"])
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", reply.headers["etag"])
        assert (await serves.get(host, if_none_match='"other"')).status == 200
        text = await serves.get(host, "/same.txt", range="bytes=0-3")
        assert (text.status, text.text) == (206, "the ")
        missing = await serves.get(host, "/none")
        assert (missing.status, missing.text.startswith("none"), "Tests" in missing.text) == (404, True, True)
        assert "Tests" not in (await serves.get("alice", "/site/")).text
        assert "Tests" not in (await serves.get(host, "/.pages/site")).text.partition("</main>")[2]


async def test_a_previews_own_rules_hold_on_its_host_alone(project: Project) -> None:
    head = project.site.commit(
        {
            "public/_headers": "/*\n  X-Mine: yes\n  X-Robots-Tag: all\n  Strict-Transport-Security: max-age=99999\n"
            "  Cache-Control: public, max-age=99999\n  Set-Cookie: a=b\n",
            "public/_redirects": "/old /same.txt 302\n",
            "public/index.html": "<h1>mine</h1>",
        },
        branch="hostile",
    )
    project.pull(head, flow=1)
    project.pages(ALL)
    async with shown(project) as serves:
        reply = await serves.get(at("pr-1--site--alice"))
        assert (reply.headers["x-mine"], reply.headers["x-robots-tag"]) == ("yes", "noindex")
        assert reply.headers["cache-control"] == "no-cache"
        assert not {"strict-transport-security", "set-cookie"} & set(reply.headers)
        moved = await serves.get(at("pr-1--site--alice"), "/old")
        assert (moved.status, moved.headers["location"], moved.headers["x-robots-tag"]) == (302, "/same.txt", "noindex")
        assert "x-mine" not in (await serves.get("alice", "/site/")).headers


async def test_a_sites_report_lists_its_previews(project: Project) -> None:
    project.pull(project.branch("topic", "topic"), branch="topic")
    project.pull(project.strange("x"), source="bob/site", by="bob")
    async with shown(project) as serves:
        told = (await serves.get("alice", "/site/.pages/site.json")).body
        listed = json.loads(told)["previews"]
        assert [each["host"] for each in listed] == [
            at("pr-1--site--alice"),
            at("main--site--alice"),
            at("topic--site--alice"),
        ]
        page = await serves.get(at("topic--site--alice"), "/.pages/site")
        assert page.status == 200
        address = f"https://{at('pr-1--site--alice')}/"
        assert f'<a href="{address}">{address}</a>' in page.text


@pytest.mark.parametrize(
    ("settings", "some"),
    [
        (OWN, True),
        (b"enabled: true\n", False),
        (OWN + b"branchesPassword: " + b"ab" * 32 + b"\n", False),
    ],
)
async def test_a_report_lists_previews_where_there_are_any_and_the_sites_readers_may_see_them(
    project: Project, settings: bytes, some: bool
) -> None:
    project.branch("topic", "topic")
    project.pages(settings)
    async with shown(project) as serves:
        told = json.loads((await serves.get("alice", "/site/.pages/site.json")).body)
        assert bool(told["previews"]) is some


TELLS = {"previewToken": TOKEN, "token": TOKEN}


class TestTold:
    """Commit statuses."""

    def told(self, project: Project, commit: str) -> list[tuple[str, str, str]]:
        rows = project.settings.statuses.get(commit, [])
        return [(row["state"], row["target_url"], row["description"]) for row in rows]

    async def test_a_head_is_told_once_pending_and_then_where_its_preview_is(self, project: Project) -> None:
        head = project.branch("topic", "topic")
        pull = project.pull(head, branch="topic")
        address = f"https://pr-1--site--alice.{DOMAIN}/"
        expected = [
            ("pending", address, "The preview is being made"),
            ("success", address, "The preview is ready"),
        ]
        async with shown(project, **TELLS) as serves:
            await delivered(serves)  # nobody has visited anything
            await until(lambda: len(self.told(project, head)) == 2)
            assert self.told(project, head) == expected
            await delivered(serves)
            await serves.get(at("pr-1--site--alice"))
            broken = project.site.commit({".pages": b"enabled: [", "public/x": b"x"}, branch="topic")
            pull.push(broken)
            await delivered(serves)
            await until(lambda: len(self.told(project, broken)) == 2)
            state, where, why = self.told(project, broken)[-1]
            assert (state, where) == ("failure", address)
            assert why.startswith(".pages, line")
            assert self.told(project, head) == expected
        async with shown(project, **TELLS) as serves:  # another proxy, or this one anew
            await delivered(serves)
            await until(lambda: project.forge.count(f"{broken}/status") > 0)
            await serves.get(at("topic--site--alice"))
            assert (len(self.told(project, head)), len(self.told(project, broken))) == (2, 2)

    @pytest.mark.parametrize(
        ("files", "options", "why", "status"),
        [
            ({f"public/{number}.txt": b"x" for number in range(20)}, {"maxSiteFiles": 20}, "Too many files: ", 500),
            ({f"public/{'x' * 3000}/{n}.txt": b"x" for n in range(400)}, {"maxSiteBytes": "1MiB"}, "Too large: ", 500),
            ({"public/index.html": None, "public/same.txt": None}, {}, "There are no files where ", 404),
        ],
        ids=["too many files", "too large", "no files"],
    )
    async def test_a_head_that_shows_nothing_is_told_why(
        self, project: Project, files: Any, options: dict[str, Any], why: str, status: int
    ) -> None:
        head = project.site.commit(files, branch="topic", parent=project.site.head())
        project.pull(head, branch="topic")
        async with shown(project, **TELLS, **options) as serves:
            await delivered(serves)
            await until(lambda: len(self.told(project, head)) == 2)
            (first, *_), (state, where, told) = self.told(project, head)
            assert (first, state, where) == ("pending", "failure", f"https://pr-1--site--alice.{DOMAIN}/")
            assert told.startswith(why)
            assert (await serves.get(at("pr-1--site--alice"))).status == status
            assert (await serves.get("alice", "/site/")).status == 200

    async def test_without_a_token_for_it_nothing_is_said(self, project: Project) -> None:
        project.pull(project.branch("topic", "topic"), branch="topic")
        async with shown(project, token=TOKEN) as serves:
            await delivered(serves)
            assert (await serves.get(at("pr-1--site--alice"))).status == 200
        assert not project.settings.statuses
        assert not [call for call in project.forge.calls if call.method != "GET" or "status" in call.target]

    async def test_a_strangers_pull_request_is_told_of_when_it_is_shown(self, project: Project) -> None:
        head = project.strange("x")
        pull = project.pull(head, source="bob/site", by="bob")
        async with shown(project, **TELLS) as serves:
            await delivered(serves)
            await until(lambda: project.forge.count("/reviews") > 0)
            assert not self.told(project, head)
            pull.approve("alice", official=True)
            await delivered(serves)
            await until(lambda: len(self.told(project, head)) == 2)


async def test_the_token_of_statuses_is_in_no_log_and_no_other_call(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    weak = "f8" * 20
    project.forge.tokens[weak] = Token("bob", frozenset({"write:repository"}))
    project.pull(project.branch("topic", "topic"), branch="topic")
    async with shown(project, previewToken=weak) as serves:
        await delivered(serves)
        await until(lambda: "previewToken" in caplog.text)
        assert (await serves.get(at("pr-1--site--alice"))).status == 200
    assert caplog.text.count("previewToken") == 1
    assert weak not in caplog.text
    assert not [call for call in project.forge.calls if call.method == "GET" and weak in str(call.headers)]


@pytest.mark.parametrize("seed", range(4))
async def test_deliveries_in_any_order_twice_and_late_come_to_what_is_so(tmp_path: Path, seed: int) -> None:
    """As Forgejo sent them; only what the forge says when it is asked counts."""
    project = Project(tmp_path, name="hookpulls")
    kept = project.pull(project.branch("kept", "kept"), branch="kept")
    closed = project.pull(project.branch("closed", "closed"), branch="closed")
    gone = project.branch("gone", "gone")
    strange = project.pull(project.strange("strange"), source="bob/hookpulls", by="bob")
    strange.approve("alice", official=True)
    hosts = [f"{first}--hookpulls--alice" for first in ("pr-1", "pr-2", "pr-3", "kept", "gone")]
    rounds = random.Random(seed)
    sent = [*pull_webhooks(), *pull_webhooks()]
    rounds.shuffle(sent)
    async with shown(project, webhookSecret="hook-secret") as serves:
        looks: list[Any] = []
        webhook = Webhook(serves.settings, serves.library.purge)
        assert [(await serves.get(at(host))).status for host in hosts] == [200] * 5
        moments = sorted(rounds.sample(range(len(sent)), 3))
        for number, recorded in enumerate(sent):
            if number == moments[0]:
                kept.push(project.branch("kept", "again"))
            elif number == moments[1]:
                closed.close()
                project.site.delete_branch("gone")
            elif number == moments[2]:
                strange.push(project.strange("unseen"))
            body = recorded["text"].encode()
            digest = hmac.new(b"hook-secret", body, hashlib.sha256).hexdigest()
            headers = {name.lower().encode(): value.encode() for name, value in recorded["headers"]}
            headers |= {b"x-forgejo-signature": digest.encode(), b"content-length": str(len(body)).encode()}
            request = Request("POST", "pages.test", "/.pages/webhook", None, headers.get, lambda: VISITOR)
            delivery = webhook.delivery(request)
            assert isinstance(delivery, Delivery)
            delivery.take(body)
            delivery.take(b"")
            looks.append(await delivery.answer())
        await delivered(serves, name="hookpulls")  # the last one, late
        for _ in range(2):
            replies = [await serves.get(at(host)) for host in hosts]
            assert [reply.status for reply in replies] == [200, 404, 404, 200, 404]
            assert replies[0].text == replies[3].text == "<h1>again</h1>"
        assert (await serves.get(at(f"{gone[:10]}--hookpulls--alice"))).status == 404
        assert {answer.status for answer in looks} <= {202, 400}


async def test_a_preview_can_be_explained(project: Project) -> None:
    project.pull(project.branch("topic", "topic"), branch="topic")
    project.pull(project.strange("x"), flow=1, by="bob")
    async with shown(project) as serves:
        for label, says in (("pr-1--site--alice", "pull 1"), ("pr-2--site--alice", "there is none")):
            told = await serves.server.explained(serves.request(at(label)))
            assert told.answer is not None
            assert told.answer.status == (200 if says == "pull 1" else 404)
            said = {step.name: step.says for step in told.steps.taken}
            assert "preview" in said["host"]
            assert says in said["preview"]


async def test_many_who_ask_at_once_share_one_look(project: Project) -> None:
    project.branch("topic", "topic")
    async with shown(project) as serves:
        replies = await asyncio.gather(*(serves.get(at("topic--site--alice")) for _ in range(20)))
        assert {reply.status for reply in replies} == {200}
        assert (project.forge.count("refs/heads"), project.forge.count("git/trees")) == (1, 2)


def test_the_days_of_the_tests_fit() -> None:
    assert EPOCH < TODAY
