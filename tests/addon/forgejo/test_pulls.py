# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Pull requests, branches, commits and statuses: what a real Forgejo said of them, and what ours says alike."""

import json
from pathlib import Path
from typing import Any

import pytest

from addon.forgejo import pull_answers
from addon.forgejo.answers import Access, Repository
from addon.forgejo.calls import Reached
from addon.forgejo.client import BadAnswer, Forgejo, NotFound, Refused
from addon.forgejo.commit_statuses import CONTEXT, State
from addon.forgejo.pull_answers import Event
from addon.preview.forge import Forge
from addon.preview.pull_requests import PullRequest
from addon.preview.settings import OwnerSettings, RepositorySettings, Token
from tests.addon.conftest import Connect
from tests.addon.preview.asking import ask
from tests.addon.preview.recordings import pulls
from tests.addon.preview.sites import Site

RECORDED = pulls()
PREVIEWS = Repository("alice", "previews", 21, "main", False, True, False, "sha1", None, Access.ANONYMOUS)
FORKS_HEAD = "b6135dd10ad36ba5bbf59d6f49e96d72201bd031"
WRITER, READER, ISSUES = "a7" * 20, "b7" * 20, "c7" * 20


def recorded(note: str) -> dict[str, Any]:
    """The recorded exchange of that note."""
    return next(each for each in RECORDED if each["note"] == note)


def body(note: str) -> bytes:
    return str(recorded(note)["response"]["text"]).encode()


def test_whose_a_pull_request_is_follows_from_flow_and_both_repositories() -> None:
    found, rows = pull_answers.pulls(body("pulls open, all"), PREVIEWS)
    assert rows == 5
    # 9 is by AGit, its head in the base; 7 and 2 are of forks; 3 and 1 of branches of the repository.
    assert {each.number: each.own for each in found} == {9: False, 7: False, 3: True, 2: False, 1: True}
    assert found[3].head == FORKS_HEAD
    assert pull_answers.pulls(body("pulls closed"), PREVIEWS)[0] == []


def test_what_was_recorded_of_branches_commits_and_statuses_is_understood() -> None:
    refs = json.loads(body("git/refs (all)"))
    heads = [row for row in refs if row["ref"].startswith("refs/heads/")]
    assert set(pull_answers.heads(json.dumps(heads).encode())) == {"draft", "feature/a", "main"}
    with pytest.raises(BadAnswer):
        pull_answers.heads(body("git/refs (all)"))
    commit = pull_answers.commit(body("commit in the base repository by a fork's pull head"), FORKS_HEAD[:10])
    assert commit.id == FORKS_HEAD
    assert commit.committed_at == 1795878458
    with pytest.raises(BadAnswer):
        pull_answers.commit(body("commit in the base repository by a fork's pull head"), "0" * 40)
    combined = pull_answers.statuses(body("combined status by refs/pull/2/head"))
    assert combined == {CONTEXT: ("success", "https://pr-2--previews--alice.pages.example/")}
    assert pull_answers.statuses(body("combined status of a commit without any")) == {}


def test_only_an_official_approval_counts() -> None:
    notes = [
        "approval by a user who may not write (anybody may; official: false)",
        "approval by the owner (official: true)",
    ]
    rows = [json.loads(body(note)) for note in notes]
    assert pull_answers.approvals(json.dumps(rows).encode())[0] == [pull_answers.Approval(4, FORKS_HEAD)]
    rows[1]["dismissed"] = True
    assert pull_answers.approvals(json.dumps(rows).encode())[0] == []


ODD: list[tuple[str, dict[str, Any]]] = [
    ("no flow, as from a forge that does not say it", {"flow": None}),
    ("a flow that is no number", {"flow": False}),
    ("a head of no repository", {"head": {"sha": "1" * 40, "repo_id": -1}}),
    ("a head of another", {"head": {"sha": "1" * 40, "repo_id": 22}}),
]


@pytest.mark.parametrize(("why", "fields"), ODD, ids=[why for why, _ in ODD])
def test_in_doubt_it_is_a_strangers(why: str, fields: dict[str, Any]) -> None:
    row = json.loads(body("pulls open, all"))[4]
    assert pull_answers.pulls(json.dumps([row]).encode(), PREVIEWS)[0][0].own
    found, _ = pull_answers.pulls(json.dumps([row | fields]).encode(), PREVIEWS)
    assert not found[0].own


ODD_BASES = [b'[{"head":{},"base":{"repo_id":21}}, 3]', b'[{"head":{},"base":{"repo_id":22}}]']


@pytest.mark.parametrize("lie", [b"", b"{}", b"[1]", *ODD_BASES])
def test_what_cannot_be_a_list_of_pull_requests_is_a_bad_answer(lie: bytes) -> None:
    with pytest.raises(BadAnswer):
        pull_answers.pulls(lie, PREVIEWS)


def test_a_push_says_which_commits_or_nothing() -> None:
    def commits(said: object) -> tuple[str, ...]:
        row = {"type": "pull_push", "body": said}
        return pull_answers.events(json.dumps([row]).encode())[0][0].commits

    assert commits(json.dumps({"is_force_push": True, "commit_ids": ["1" * 40, "2" * 40]})) == ("1" * 40, "2" * 40)
    for said in ("", "[", "[]", "{}", '{"commit_ids": 1}', '{"commit_ids": ["x"]}', None, 3, "[" * 100_000):
        assert commits(said) == ()


def test_a_timeline_without_rows_is_null_and_a_row_may_be() -> None:
    """As Forgejo's source has it: the list is one of pointers, made as rows are found."""
    assert pull_answers.events(b"null\n") == ([], 0)
    row = {"type": "reopen", "body": ""}
    assert pull_answers.events(json.dumps([row, None]).encode()) == ([Event("reopen"), Event("")], 2)
    for lie in (b"{}", b"[1]", b'[{"type": null}]'):
        with pytest.raises(BadAnswer):
            pull_answers.events(lie)


class Place:
    """A forge with the recorded pull requests, as far as they can be made again."""

    def __init__(self, root: Path) -> None:
        self.site = Site(root / "alice" / "previews.git", {".pages": b"enabled: true\n", "public/index.html": b"x"})
        Site(root / "bob" / "previews.git", {"x": b"y"})
        first = self.site.head() or ""
        self.first = first
        self.fork = self.site.commit({"public/index.html": "fork"}, branch="away", parent=first)
        self.site.delete_branch("away")
        self.own = self.site.commit({"public/index.html": "own"}, branch="feature/a", parent=first)
        self.settings = RepositorySettings(id=21, writers=frozenset({"erin"}))
        self.settings.pulls = [
            PullRequest(1, self.own, "feature/a"),
            PullRequest(2, self.fork, "fix", by="bob", source="bob/previews"),
            PullRequest(6, self.fork, "ghost", by="carol", source="carol/previews", gone=True, state="closed"),
            PullRequest(9, self.fork, "agit-topic", by="bob", flow=1),
        ]
        owners = {name: OwnerSettings() for name in ("alice", "bob", "carol")}
        tokens = {
            WRITER: Token("erin", frozenset({"write:repository"})),
            READER: Token("bob", frozenset({"write:repository"})),
            ISSUES: Token("bob", frozenset({"read:issue"})),
        }
        self.forge = Forge(root, owners=owners, repositories={"alice/previews": self.settings}, tokens=tokens)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Place(tmp_path_factory.mktemp("pulls"))
    made.forge.start_thread()
    yield made
    made.forge.stop()


def shape(value: Any) -> Any:
    """Names in order and kinds of values; of a list the first row, as the others are alike."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


ALIKE = [
    ("pulls open, all", "/pulls?state=open", 0),
    ("pulls closed", "/pulls?state=closed", 1),
    ("git/refs/pull (all)", "/git/refs/pull", 0),
    ("combined status of a commit without any", "/commits/{first}/status", None),
    (
        "commit in the base repository by a fork's pull head",
        "/git/commits/{fork}?stat=false&verification=false&files=false",
        None,
    ),
    # Of one pull request as of any history: Forgejo makes both in the same way.
    ("pull 2: commits", "/commits?sha={fork}&not={first}&limit=5&stat=false&verification=false&files=false", 0),
]


@pytest.mark.parametrize(("note", "tail", "row"), ALIKE, ids=[note for note, _, _ in ALIKE])
def test_our_forge_writes_documents_as_the_real_one(place: Place, note: str, tail: str, row: int | None) -> None:
    wanted = json.loads(body(note))
    target = tail.format(first=place.first, fork=place.fork)
    answer = ask(place.forge, "GET", f"/api/v1/repos/alice/previews{target}")
    got = answer.json()
    assert answer.status == recorded(note)["response"]["status"]
    if row is not None:
        wanted, got = wanted[row], got[0]
    ours, theirs = shape(got), shape(wanted)
    assert list(ours) == list(theirs)
    different = {name for name in ours if ours[name] != theirs[name]}
    # A user whom nobody knows, a milestone that nobody set; what a fresh repository has of these is nothing. Of the
    # history of a pull request, stats were asked for as well.
    assert different <= {"user", "author", "committer", "head", "base", "stats"}
    assert list(ours.get("head", ())) == list(theirs.get("head", ()))


def test_a_history_without_another_is_told_as_the_real_forge_tells_histories(place: Place) -> None:
    base = "/api/v1/repos/alice/previews/commits?limit=5"
    answer = ask(place.forge, "GET", f"{base}&sha={place.fork}&not={place.first}")
    assert [row["sha"] for row in answer.json()] == [place.fork]
    wanted = dict(recorded("pull 2: commits")["response"]["headers"])
    told = {name: value for name, value in answer.headers if name in wanted and name != "Content-Length"}
    assert told == {name: value for name, value in wanted.items() if name in told}
    assert {name for name in wanted if name.startswith("X-")} <= set(told)
    nothing = ask(place.forge, "GET", f"{base}&sha={place.first}&not={place.fork}")
    assert (nothing.json(), nothing.header("x-total-count")) == ([], "0")
    for query, status in ((f"sha={'0' * 40}", 404), (f"sha={place.fork}&not={'0' * 40}", 500)):
        assert ask(place.forge, "GET", f"{base}&{query}").status == status


def test_the_timeline_of_our_forge_is_as_the_source_of_the_real_one(place: Place) -> None:
    base = "/api/v1/repos/alice/previews/issues/2/timeline"
    first = ask(place.forge, "GET", base)
    assert first.json()[0]["type"] == "pull_push"
    assert first.header("x-total-count") == str(len(first.json()))
    beyond = ask(place.forge, "GET", f"{base}?page=9")
    assert (beyond.body, beyond.header("x-total-count")) == (b"null\n", "0")
    for token, status in ((WRITER, 403), (ISSUES, 200)):
        answer = ask(place.forge, "GET", base, {"Authorization": f"token {token}"})
        assert answer.status == status
        assert status == 200 or "[read:issue]" in answer.json()["message"]


def test_reviews_and_statuses_of_our_forge_are_as_the_real_ones(place: Place) -> None:
    pull = place.settings.pulls[1]
    pull.approve("alice", official=True)
    review = ask(place.forge, "GET", "/api/v1/repos/alice/previews/pulls/2/reviews").json()[0]
    assert list(review) == list(json.loads(body("approval by the owner (official: true)")))
    assert (review["official"], review["commit_id"]) == (True, place.fork)


def test_heads_of_pull_requests_are_named_as_the_real_forge_names_them(place: Place) -> None:
    rows = ask(place.forge, "GET", "/api/v1/repos/alice/previews/pulls?state=all").json()
    heads = {row["number"]: (row["head"]["label"], row["head"]["ref"], row["head"]["repo_id"]) for row in rows}
    real = json.loads(body("pulls open, all")) + json.loads(body("pulls closed"))
    wanted = {row["number"]: (row["head"]["label"], row["head"]["ref"]) for row in real}
    for number in (1, 2, 6, 9):
        assert heads[number][:2] == wanted[number]
    assert (heads[1][2], heads[6][2], heads[9][2]) == (21, -1, 21)
    refused = ask(place.forge, "GET", "/api/v1/repos/alice/previews/git/refs/pull/99/head")
    assert refused.status == recorded("git/refs of a missing pull")["response"]["status"]


async def test_the_client_asks_and_understands(place: Place, connect: Connect) -> None:
    forgejo: Forgejo = connect(place.forge)
    repository = await forgejo.repository("alice", "previews")
    asks = forgejo.pulls
    assert await asks.heads(repository) == {"main": place.first, "feature/a": place.own}
    assert {each.number: each.own for each in await asks.open_pulls(repository, 100)} == {9: False, 2: False, 1: True}
    assert len(await asks.open_pulls(repository, 2)) == 2
    told = await asks.commit(repository, place.fork[:12])
    assert told is not None
    assert told.id == place.fork
    assert await asks.commit(repository, "0" * 12) is None
    # Readable is not reachable.
    assert await asks.is_reachable(repository, place.first, place.own)
    assert await asks.is_reachable(repository, place.own, place.own)
    assert not await asks.is_reachable(repository, place.fork, place.own)
    assert not await asks.is_reachable(repository, place.own, place.first)
    events = await asks.events(repository, 2)
    assert events is not None
    assert events[0].commits == (place.fork,)


async def test_texts_that_are_too_long_hide_what_lies_beside_them_at_most(
    place: Place, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgejo: Forgejo = connect(place.forge)
    repository = await forgejo.repository("alice", "previews")
    before = list(place.settings.pulls)
    place.settings.pulls += [PullRequest(number, place.own) for number in range(10, 17)]
    place.settings.pulls.append(PullRequest(17, place.fork, by="bob", source="bob/previews", title="x" * 100_000))
    monkeypatch.setattr("addon.forgejo.pulls._LARGEST", 60_000)
    place.forge.forget_calls()
    found = [each.number for each in await forgejo.pulls.open_pulls(repository, 100)]
    assert found == [12, 11, 10, 9, 2, 1]
    assert place.forge.count("/pulls") == 12
    place.settings.pulls[:] = before


@pytest.mark.parametrize(("total", "rows"), [(None, []), ("7", []), ("0", [{}])])
async def test_a_forge_that_does_not_know_not_makes_nothing_reachable(
    place: Place, connect: Connect, monkeypatch: pytest.MonkeyPatch, total: str | None, rows: list[Any]
) -> None:
    forgejo: Forgejo = connect(place.forge)
    repository = await forgejo.repository("alice", "previews")

    class Said:
        status, body = 200, json.dumps(rows).encode()

        def header(self, name: str) -> str | None:
            return total

    async def ask(*arguments: Any, **options: Any) -> Any:
        return Said(), Reached("alice", "previews", Access.ANONYMOUS)

    monkeypatch.setattr(forgejo.pulls._calls, "ask", ask)
    assert not await forgejo.pulls.is_reachable(repository, place.fork, place.own)


async def test_a_status_is_set_by_who_may_and_the_token_goes_nowhere_else(place: Place, connect: Connect) -> None:
    forgejo: Forgejo = connect(place.forge)
    repository = await forgejo.repository("alice", "previews")
    place.forge.forget_calls()
    teller = forgejo.statuses(WRITER)
    assert WRITER not in repr(teller)
    await teller.tell(
        repository, place.own, State.SUCCESS, "https://pr-1--previews--alice.preview.test/", "Ready\n" * 99
    )
    stored = place.settings.statuses[place.own][-1]
    assert (stored["state"], stored["context"]) == ("success", CONTEXT)
    assert len(stored["description"]) == 255
    assert "\n" not in stored["description"]
    assert await forgejo.pulls.statuses(repository, place.own) == {CONTEXT: ("success", stored["target_url"])}
    assert [call.credentials for call in place.forge.calls] == [True, False]
    with pytest.raises(Refused) as refused:
        await forgejo.statuses(READER).tell(repository, place.own, State.PENDING, "https://x.test/", "")
    assert READER not in str(refused.value)
    with pytest.raises(NotFound):
        await teller.tell(repository, "1" * 40, State.PENDING, "https://x.test/", "")
    for address in ("javascript:alert(1)", "https://x.test", "https://x.test/y z", "//x.test/"):
        with pytest.raises(ValueError, match="web address"):
            await teller.tell(repository, place.own, State.PENDING, address, "")
