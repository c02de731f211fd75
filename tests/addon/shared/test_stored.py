# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is written of a look, what is read of it, in how many trips, and what is believed: on one server, on one that
runs no scripts, and on a cluster."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import resp
from addon.forgejo.answers import Access, Repository
from addon.shared import reads, records, round_trips, writes
from addon.shared.cache import SharedCache
from addon.shared.lookup import Fault, Key, Lookup
from addon.shared.reads import Epoch, Held
from addon.shared.round_trips import NoAnswer, RoundTrips, no_scripts, value_of
from addon.shared.signatures import RecordKey, Signature
from addon.sites.pages_file import PagesFile
from addon.sites.site import Site, files_below
from tests.addon.conftest import SharedAt
from tests.addon.shared.meddling import set_before_writing, without_scripts
from tests.resp.fleets import Cluster
from tests.resp.servers import Server

BLOG = ("alice", "blog")
COMMIT, OTHER = "c" * 40, "d" * 40
PAGE = b"<h1>First</h1>\n"
REPO, REF, SITE_KEY = "~pages:repo:alice/blog", "~pages:ref:alice/blog@main", f"~pages:site:alice/blog@{COMMIT}"
EPOCH, LOCK, PASSWORD = "~pages:epoch:alice/blog", "~pages:lock:alice/blog", "password:alice:blog"
OURS = RecordKey(b"ours")
LIFE = 1000.0
WEEK = 7 * 86_400_000
Place = Server | Cluster


def blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def site(commit: str = COMMIT, **pages: Any) -> Site:
    tree = files_below([("public/index.html", 0o100644, blob_id(PAGE), len(PAGE))])
    return Site("alice", "blog", commit, 1.0, PagesFile(**pages), tree)


def repository(**more: Any) -> Repository:
    known = Repository("alice", "blog", 7, "main", False, True, False, "sha1", 1.0, Access.ANONYMOUS)
    return replace(known, **more)


def found(key: Key = BLOG, commit: str = COMMIT, **more: Any) -> Lookup:
    return replace(Lookup(key, time.monotonic(), site(commit), None, repository(), commit, 5.0), **more)


GONE = Lookup(BLOG, 0.0, fault=Fault.ABSENT)
REFUSED = Lookup(BLOG, 0.0, fault=Fault.REFUSED)


class Trips(RoundTrips):
    """Round trips of one proxy."""

    def __init__(self, shared: SharedCache, key: RecordKey = OURS, largest_file: int = 1000) -> None:
        super().__init__(
            shared.client,
            time.monotonic() + 60,
            life=LIFE,
            largest_file=largest_file,
            touched=set(),
            record_key=key,
        )

    def stored(self, lookup: Lookup, held: Held | None = None, token: str = "", **more: Any) -> bool:
        work, going = more.get("work", {}), more.get("going", ())
        return writes.store(self, lookup, Held(Epoch()) if held is None else held, token, work, going)

    def looked(self, key: Key = BLOG, branch: str = "main", known: str | None = None, **more: Any) -> Held:
        return reads.look(self, key, branch, known, more.get("wanted"), more.get("called"))


MakeTrips = Callable[..., Trips]


@pytest.fixture
async def trips(shared_at: SharedAt) -> MakeTrips:
    """`trips(place, key=…)`: those of one more proxy."""
    return lambda where, *more, **named: Trips(shared_at(where, redisTimeout="60s"), *more, **named)


def left(place: Place, name: str) -> int:
    value = place.ask("PTTL", name)
    assert isinstance(value, int)
    return value


def names(place: Place) -> list[str]:
    told = place.ask("KEYS", "*")
    assert isinstance(told, list)
    return sorted(name.decode() for name in told if isinstance(name, bytes))


# --- what is written is read ------------------------------------------------------------------------------------------


def test_what_one_proxy_found_another_reads(place: Place, trips: MakeTrips) -> None:
    work: Any = {records.blob_key(blob_id(PAGE)): PAGE}
    assert trips(place).stored(found(), work=work)
    each = trips(place)
    held = each.looked(wanted=((), True))
    assert (held.repository, held.fault, held.commit, held.modified) == (repository(), None, COMMIT, 5.0)
    assert held.contents is not None
    assert held.contents.site is not None
    assert held.contents.site.commit == COMMIT
    assert held.blobs == {blob_id(PAGE): PAGE}
    assert (held.outdated, held.foreign, held.foreign_contents, held.added) == (False, False, False, "")
    assert (held.trusted, held.others) == (True, False)
    assert 0 <= held.age < 60
    assert LIFE - 60 < held.left <= LIFE
    assert each.made == 3
    assert each.touched == {SITE_KEY, records.blob_key(blob_id(PAGE))}
    lives = [left(place, name) for name in (REPO, REF, SITE_KEY, records.blob_key(blob_id(PAGE)))]
    assert all(LIFE * 1000 - 60_000 < life <= LIFE * 1000 for life in lives[:2])
    assert all(WEEK - 60_000 < life <= WEEK for life in lives[2:])


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ({"known": COMMIT}, 1),
        ({}, 2),
        ({"known": OTHER}, 2),
        ({"wanted": ((), True)}, 3),
        ({"wanted": (("none",), False)}, 2),
        ({"known": COMMIT, "branch": "master"}, 2),
    ],
)
def test_a_look_takes_as_many_trips_as_what_it_asks_depends_on(
    asked: dict[str, Any], made: int, server: Place, trips: MakeTrips
) -> None:
    trips(server).stored(found())
    each = trips(server)
    held = each.looked(**asked)
    assert (held.commit, each.made) == (COMMIT, made)
    assert (held.contents is None) == (asked.get("known") == COMMIT)


def test_of_what_is_not_there_nothing_is_known(place: Place, trips: MakeTrips) -> None:
    each = trips(place)
    nothing = each.looked()
    assert nothing == Held(Epoch())
    assert (nothing.trusted, nothing.others, nothing.outdated, nothing.foreign) == (True, False, False, False)
    assert (nothing.age, nothing.left, nothing.blobs, nothing.added) == (0.0, 0.0, {}, "")
    assert each.made == 1
    each.stored(found())
    place.ask("DEL", REF)
    assert each.looked() == Held(Epoch())
    each.stored(found(), Held(Epoch(), commit=COMMIT))
    place.ask("DEL", SITE_KEY)
    held = each.looked()
    assert (held.commit, held.contents) == (COMMIT, None)


@pytest.mark.parametrize(("largest", "read"), [(len(PAGE), True), (len(PAGE) - 1, False)])
def test_a_page_is_read_with_its_site_if_it_is_not_too_large(
    largest: int, read: bool, server: Place, trips: MakeTrips
) -> None:
    trips(server).stored(found(), work={records.blob_key(blob_id(PAGE)): PAGE})
    held = trips(server, largest_file=largest).looked(wanted=((), True))
    assert bool(held.blobs) == read


@pytest.mark.parametrize("fault", [Fault.ABSENT, Fault.REFUSED])
def test_that_there_is_none_is_known_too(fault: Fault, place: Place, trips: MakeTrips) -> None:
    each = trips(place)
    assert each.stored(replace(GONE, fault=fault))
    held = each.looked()
    assert (held.fault, held.repository, held.commit, held.contents, held.outdated) == (fault, None, None, None, False)
    life = 60.0 if fault is Fault.ABSENT else LIFE
    assert life - 30 < held.left <= life


# --- purges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epoch", ["~pages:epoch:", EPOCH])
def test_what_was_read_before_a_purge_is_not_stored_after_it(epoch: str, place: Place, trips: MakeTrips) -> None:
    each = trips(place)
    assert writes.lock(each, BLOG, "token", 10.0)
    before = each.looked()
    place.ask("SET", epoch, "a word")
    assert not each.stored(found(), before, "token")
    assert REPO not in names(place)
    assert REF not in names(place)
    assert LOCK not in names(place)
    after = each.looked()
    assert str(after.epoch) in ("a word.", ".a word")
    assert each.stored(found(), after)
    assert not each.looked().outdated
    place.ask("SET", epoch, "another")
    assert each.looked().outdated
    place.ask("DEL", epoch)
    assert each.looked().outdated


@pytest.mark.parametrize("epoch", [EPOCH, records.epoch_key(None)])
def test_a_purge_while_a_server_without_scripts_writes_comes_first(server: Place, trips: MakeTrips, epoch: str) -> None:
    each = trips(server)
    with without_scripts(server), set_before_writing(each, server, epoch, "a word"):
        assert each.stored(found()) is False
        assert REPO not in names(server)


def test_a_ref_alone_that_is_older_than_a_purge_is_outdated(server: Place, trips: MakeTrips) -> None:
    each = trips(server)
    each.stored(found())
    old = server.ask("GET", REF)
    server.ask("SET", EPOCH, "a word")
    each.stored(found(), each.looked())
    assert not each.looked().outdated
    assert isinstance(old, bytes)
    server.ask("SET", REF, old, "KEEPTTL")
    assert each.looked().outdated


def test_a_repository_that_is_gone_takes_all_that_is_its_own_along(place: Place, trips: MakeTrips) -> None:
    each = trips(place)
    going = [f"{number:040x}" for number in range(1001)]
    for number in (0, 499, 500, 999, 1000):
        place.ask("SET", records.blob_key(going[number]), "x")
    each.stored(found())
    held = each.looked()
    assert each.stored(GONE, held, going=going)
    # Who looks at this moment began before that: what it finds is not stored.
    assert names(place) == [EPOCH, REPO]
    assert left(place, EPOCH) > WEEK - 60_000
    assert left(place, REPO) <= 60_000
    assert not each.stored(found(), held)
    assert not each.looked().outdated
    assert each.looked().fault is Fault.ABSENT


def test_a_repository_that_is_refused_leaves_what_is_known_of_its_commits(place: Place, trips: MakeTrips) -> None:
    each = trips(place)
    each.stored(found())
    assert each.stored(REFUSED, each.looked())
    assert {name for name in names(place) if "password" not in name} == {REPO, REF, SITE_KEY}
    assert LIFE * 1000 - 60_000 < left(place, REPO) <= LIFE * 1000


@pytest.mark.parametrize(("token", "stays"), [("mine", False), ("another", True), ("", True)])
def test_a_lock_is_let_go_of_by_who_has_it(token: str, stays: bool, place: Place, trips: MakeTrips) -> None:
    each = trips(place)
    assert writes.lock(each, BLOG, "mine", 10.0)
    assert not writes.lock(each, BLOG, "another", 10.0)
    assert 5_000 < left(place, LOCK) <= 10_000
    assert each.stored(found(), token=token)
    assert (LOCK in names(place)) == stays
    writes.lock(each, BLOG, "mine", 10.0)
    writes.unlock(each, BLOG, token)
    assert (LOCK in names(place)) == (token != "mine")


# --- what a commit is -------------------------------------------------------------------------------------------------


def test_what_a_commit_is_is_written_once_and_lives_on(place: Place, trips: MakeTrips) -> None:
    each = trips(place)
    each.stored(found())
    written = place.ask("GET", SITE_KEY)
    place.ask("PEXPIRE", SITE_KEY, 5000)
    held = each.looked(known=COMMIT)
    made = each.made
    assert each.stored(found(), held)
    assert left(place, SITE_KEY) > WEEK - 60_000
    assert place.ask("GET", SITE_KEY) == written
    usual = each.made - made
    place.ask("DEL", SITE_KEY)  # evicted
    assert each.stored(found(), held, work={records.blob_key(blob_id(PAGE)): PAGE})
    assert place.ask("GET", SITE_KEY) == written
    assert left(place, SITE_KEY) > WEEK - 60_000
    assert each.made - made == 2 * usual + 1


def test_what_another_version_wrote_is_left_alone(place: Place, trips: MakeTrips) -> None:
    each = trips(place)
    each.stored(found())
    place.ask("SET", SITE_KEY, '{"v":99}', "EX", 60)
    held = each.looked()
    assert (held.contents, held.foreign_contents, held.foreign) == (None, True, False)
    each.stored(found(), held)
    assert place.ask("GET", SITE_KEY) == b'{"v":99}'
    for name in (REF, REPO):
        place.ask("SET", name, '{"v":99}')
        assert each.looked() == Held(Epoch(), foreign=True)
        assert place.ask("GET", name) == b'{"v":99}'


def test_what_is_too_large_to_be_shared_is_not_written(
    server: Place, trips: MakeTrips, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert writes.LARGEST_SITE == 32 * 1024 * 1024
    size = records.site_record_size(found())
    each = trips(server)
    for most, written in ((size - 1, False), (size, True)):
        monkeypatch.setattr(writes, "LARGEST_SITE", most)
        assert each.stored(found())
        assert (SITE_KEY in names(server)) == written
    server.ask("DEL", SITE_KEY)
    signed = len(OURS.signed(SITE_KEY, records.site_record(found())))
    monkeypatch.setattr(records, "site_record_size", lambda lookup: 0)
    for most, written in ((signed - 1, False), (signed, True)):
        monkeypatch.setattr(writes, "LARGEST_SITE", most)
        assert each.stored(found())
        assert (SITE_KEY in names(server)) == written


# --- who is believed --------------------------------------------------------------------------------------------------


def test_what_is_signed_with_another_key_is_others_and_what_is_not_signed_nobodys(
    server: Place, trips: MakeTrips
) -> None:
    ours, others = trips(server), trips(server, RecordKey(b"others"))
    others.stored(found())
    held = ours.looked()
    assert (held.trusted, held.others, held.contents, held.repository) == (False, True, None, repository())
    ours.stored(found(), held)
    assert (ours.looked().trusted, others.looked().others) == (True, True)
    value = server.ask("GET", REF)
    assert isinstance(value, bytes)
    plain = {name: part for name, part in json.loads(value).items() if name != "sig"}
    server.ask("SET", REF, json.dumps(plain), "KEEPTTL")
    held = ours.looked()
    assert (held.trusted, held.others, held.commit) == (False, False, COMMIT)
    others.stored(found(), Held(Epoch(), commit=COMMIT))
    server.ask("SET", REPO, json.dumps(plain | {"v": 1}))
    assert ours.looked() == Held(Epoch())  # no repository at all: dropped
    assert REPO not in names(server)


def test_of_what_others_say_of_a_commit_only_that_it_is_no_site_is_believed(server: Place, trips: MakeTrips) -> None:
    ours, others = trips(server), trips(server, RecordKey(b"others"))
    broken = found(site=None, fault=Fault.BROKEN, line=3, reason="a reason")
    others.stored(broken)
    contents = ours.looked().contents
    assert contents is not None
    assert (contents.fault, contents.site, contents.line, contents.reason) == (Fault.BROKEN, None, 3, "a reason")
    others.stored(replace(found(), fault=Fault.UNCONFIGURED))
    contents = ours.looked().contents
    assert contents is not None
    assert (contents.fault, contents.site) == (Fault.UNCONFIGURED, None)
    assert not ours.looked().foreign_contents


# --- ages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("repo", "ref"), [(400, 0), (0, 400), (400, 300)])
def test_a_look_is_as_old_as_the_older_of_its_records(repo: int, ref: int, server: Place, trips: MakeTrips) -> None:
    each = trips(server)
    each.stored(found())
    for name, seconds in ((REPO, repo), (REF, ref)):
        server.ask("PEXPIRE", name, int(LIFE * 1000) - seconds * 1000)
    held = each.looked()
    assert 400 <= held.age < 460
    assert 540 < held.left <= 600


def test_what_was_made_by_hand_is_new_and_ages_from_now_on(server: Place, trips: MakeTrips) -> None:
    each = trips(server)
    each.stored(found())
    server.ask("SET", REF, json.dumps({"v": 1, "commit": OTHER}))
    held = each.looked()
    assert (held.commit, held.modified, held.outdated) == (OTHER, None, False)
    assert held.age < 60
    assert LIFE * 1000 - 60_000 < left(server, REF) <= LIFE * 1000
    server.ask("SET", REPO, json.dumps({"v": 1, "fault": "absent"}))
    held = each.looked()
    assert (held.fault, held.age, held.left) == (Fault.ABSENT, 0.0, float("inf"))
    assert left(server, REPO) == -1


@pytest.mark.parametrize(
    ("pttl", "life", "at", "age", "remaining"),
    [
        (-1, 100.0, None, 0.0, float("inf")),
        (-2, 100.0, None, 0.0, float("inf")),
        (None, 100.0, None, 0.0, float("inf")),
        (40_000, None, None, 0.0, 40.0),
        (40_000, 100.0, None, 60.0, 40.0),
        (0, 100.0, None, 100.0, 0.0),
        (200_000, 100.0, None, 0.0, 200.0),
        (40_000, 100.0, 500.0, 440.0, 40.0),  # put there again: by the clock, a minute aside
        (40_000, 100.0, 950.0, 60.0, 40.0),
        (40_000, None, 500.0, 440.0, 40.0),
        (-1, None, 2000.0, 0.0, float("inf")),
    ],
)
def test_an_age_is_told_by_the_key_and_by_the_clock(
    pttl: Any,
    life: float | None,
    at: float | None,
    age: float,
    remaining: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert reads._age(pttl, life, at) == (age, remaining)


def test_a_record_that_somebody_keeps_is_used_no_longer_than_its_life(server: Place, trips: MakeTrips) -> None:
    each = trips(server)
    each.stored(GONE)
    server.ask("PEXPIRE", REPO, 10_000_000)
    assert each.looked().left <= 60
    value = server.ask("GET", REPO)
    assert isinstance(value, bytes)
    old = json.loads(value) | {"at": time.time() - 500}
    server.ask("SET", REPO, json.dumps(old))
    held = each.looked()
    assert 430 < held.age < 500
    assert held.left == 1.0


# --- passwords --------------------------------------------------------------------------------------------------------

HASH = hashlib.sha256(b"word").hexdigest()


@pytest.mark.parametrize(("called", "trips_made"), [(None, 3), (("alice", "Diary"), 2), (("alice", "blog"), 3)])
def test_a_lock_stands_where_the_repository_is_called_so_by_now(
    called: Key | None, trips_made: int, server: Place, trips: MakeTrips
) -> None:
    each = trips(server)
    each.stored(found(repository=repository(name="Diary")))
    server.ask("SET", "password:alice:Diary", HASH)
    reader = trips(server)
    assert reader.looked(called=called).added == HASH
    assert reader.made == trips_made
    server.ask("SET", PASSWORD, "0" * 64)  # under the name by which it was asked for, which is asked for at once
    assert trips(server).looked(called=called).added == (HASH if called == ("alice", "Diary") else "0" * 64)


def test_our_own_word_is_said_for_a_minute_and_taken_back(server: Place, trips: MakeTrips) -> None:
    each = trips(server)
    each.stored(found(site=site(password=HASH)))
    assert server.ask("GET", PASSWORD) == HASH.encode()
    assert 30_000 < left(server, PASSWORD) <= 60_000
    assert each.looked().added == ""
    each.stored(found(site=site(password="")), each.looked())
    assert server.ask("GET", PASSWORD) == b""
    assert names(server).count("~pages:password:alice:blog") == 0
    each.stored(found(site=site(password=HASH)), each.looked())
    each.stored(GONE, each.looked())
    assert not [name for name in names(server) if "password" in name]


# --- what was found while Redis was away ------------------------------------------------------------------------------


def flushed(trips: Trips, lookup: Lookup, **work: bytes) -> bool:
    return writes.flush(trips, {REPO: lookup, **work})


def test_what_was_found_while_redis_was_away_is_written_with_the_age_that_it_has(
    place: Place, trips: MakeTrips
) -> None:
    each = trips(place)
    assert flushed(each, found(looked=time.monotonic() - 400), file=b"x")
    assert place.ask("GET", "file") == b"x"
    if isinstance(place, Cluster) or place.ask("ACL", "DRYRUN", "default", "eval", "x", "0") == b"OK":
        held = each.looked()
        assert held.commit == COMMIT
        assert 540 < held.left <= 600
        assert 400 <= held.age < 460
        assert held.contents is not None


def test_what_is_too_old_to_be_used_is_not_written(server: Place, trips: MakeTrips) -> None:
    each = trips(server)
    assert flushed(each, found(looked=time.monotonic() - LIFE + 0.5))
    assert names(server) == []
    assert flushed(each, found(looked=time.monotonic() - LIFE + 30))
    assert REF in names(server)


@pytest.mark.parametrize("kind", ["valkey", "cluster"])
def test_what_redis_knows_better_stays(kind: str, started: Callable[[str], Place], trips: MakeTrips) -> None:
    where = started(kind)
    each = trips(where)
    old = found(commit=OTHER, looked=time.monotonic() - 400)
    each.stored(found())
    flushed(each, old)
    assert each.looked().commit == COMMIT  # newer
    where.ask("PERSIST", REF)
    where.ask("PERSIST", REPO)
    flushed(each, replace(old, looked=time.monotonic()))
    assert json.loads(value(where, REF))["commit"] == COMMIT  # made to stay by hand
    for version, commit in ((2, None), (1, OTHER)):
        for name in (REF, REPO):
            where.ask("SET", name, json.dumps({"v": version}), "PX", 500_000)
        flushed(each, replace(old, looked=time.monotonic()))
        assert json.loads(value(where, REF)).get("commit") == commit
        assert ("owner" in json.loads(value(where, REPO))) == (commit is not None)


def value(place: Place, name: str) -> bytes:
    found = place.ask("GET", name)
    return found if isinstance(found, bytes) else b""


def test_what_was_written_late_is_over_with_any_purge(server: Place, trips: MakeTrips) -> None:
    each = trips(server)
    server.ask("SET", EPOCH, "a word")
    flushed(each, found())
    assert each.looked().outdated


def test_what_is_used_lives_a_week_longer(server: Place, trips: MakeTrips) -> None:
    for name in ("a", "b", "c"):
        server.ask("SET", name, "x", "EX", 5)
    assert writes.touch(trips(server), {"b", "a", "none"})
    assert min(left(server, "a"), left(server, "b")) > WEEK - 60_000
    assert left(server, "c") <= 5_000


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hashed", [hashlib.sha1, hashlib.sha256])
def test_a_file_is_its_bytes_or_nothing(hashed: Callable[[bytes], Any], server: Place, trips: MakeTrips) -> None:
    data = {"good": b"good", "short": b"short", "wrong": b"wrong"}
    ids = {name: hashed(b"blob %d\0" % len(each) + each).hexdigest() for name, each in data.items()}
    for name, each in data.items():
        server.ask("SET", records.blob_key(ids[name]), b"other" if name == "wrong" else each)
    each_trip = trips(server)
    wanted = {records.blob_key(ids[name]): (ids[name], len(each)) for name, each in data.items()}
    wanted[records.blob_key(ids["short"])] = (ids["short"], 4)
    wanted[records.blob_key("0" * 40)] = ("0" * 40, 1)
    assert reads.blobs(each_trip, wanted) == {ids["good"]: b"good"}
    assert each_trip.touched == {records.blob_key(ids["good"])}
    assert names(server) == [records.blob_key(ids["good"])]


def test_a_large_file_is_verified_by_its_digest_and_its_size(server: Place, trips: MakeTrips) -> None:
    oid = hashlib.sha256(b"film").hexdigest()
    each = trips(server)
    for stored, size, read in ((b"film", 4, b"film"), (b"film", 5, None), (b"felm", 4, None)):
        server.ask("SET", "film", stored)
        each.touched.clear()
        assert reads.lfs_object(each, "film", oid, size) == read
        assert each.touched == ({"film"} if read else set())
        assert names(server) == (["film"] if read else [])
    assert reads.lfs_object(each, "none", oid, 4) is None


# --- round trips ------------------------------------------------------------------------------------------------------


def test_when_the_time_is_over_nothing_is_asked(server: Place, trips: MakeTrips) -> None:
    each = trips(server)
    assert 0 < each.left <= 60
    assert each.everywhere("DBSIZE") == 0
    assert each.run([("SET", "a", "b"), ("GET", "a")])[1] == b"b"
    assert each.ask("GET", "a") == each.told("GET", "a") == b"b"
    assert isinstance(each.ask("NOSUCH"), resp.ServerError)
    with pytest.raises(resp.ServerError):
        each.told("NOSUCH")
    assert each.made == 6
    with each.transaction():
        assert each.made == 8
    each._deadline = time.monotonic() - 1
    assert each.left < 0
    for ask in (lambda: each.run([("PING",)]), lambda: each.everywhere("PING")):
        with pytest.raises(NoAnswer):
            ask()
    assert each.made == 8


class Pipe:
    """A pipeline whose replies a test tells; none is had of a server without its being away."""

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None: ...

    def execute_command(self, *command: Any) -> None: ...

    def execute(self, *, raise_on_error: bool) -> list[Any]:
        return self.replies


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (resp.ConnectionLost("of one node"), True),
        (resp.TemporaryError("LOADING", "soon"), True),
        (resp.AuthenticationError("NOAUTH", "no"), True),
        (resp.ServerError("ERR", "something"), False),
        (resp.ReadOnly("READONLY", "a replica"), False),
    ],
)
def test_where_there_is_no_answer_to_one_command_there_is_none_to_all(
    error: resp.RespError, raised: bool, server: Place, trips: MakeTrips, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = trips(server)
    monkeypatch.setattr(each._client, "pipeline", lambda transaction: Pipe(b"x", error, b"y"))
    if raised:
        with pytest.raises(type(error)):
            each.run([("GET", "a")] * 3)
    else:
        assert each.run([("GET", "a")] * 3) == [b"x", error, b"y"]


def test_an_error_of_one_command_stands_in_its_place(server: Place, trips: MakeTrips) -> None:
    server.ask("LPUSH", "list", "x")
    replies = trips(server).run([("GET", "list"), ("NOSUCH",), ("GET", "none")])
    assert isinstance(replies[0], resp.WrongType)
    assert isinstance(replies[1], resp.ServerError)
    assert replies[2] is None


def test_a_value_that_lies_is_taken_away_and_one_that_is_not_told_is_no_missing_one(
    server: Place, trips: MakeTrips, caplog: pytest.LogCaptureFixture
) -> None:
    each = trips(server)

    def read(data: bytes) -> str:
        if data == b"broken":
            raise records.Broken
        if data == b"outdated":
            raise records.Outdated
        return data.decode()

    for reply, stays, logged in (
        (b"good", True, 0),
        (None, True, 0),
        (b"broken", False, 1),
        (b"outdated", False, 0),
        (resp.WrongType("WRONGTYPE", "a list"), False, 1),
        (1, False, 1),
    ):
        server.ask("SET", "name", "x")
        caplog.clear()
        assert value_of(each, "name", reply, read) == ("good" if reply == b"good" else None)
        assert (names(server), len(caplog.records)) == (["name"] if stays else [], logged)
    server.ask("SET", "name", "x")
    for error in (resp.ServerError("ERR", "x"), resp.NoPermission("NOPERM", "x")):
        with pytest.raises(resp.ServerError):
            value_of(each, "name", error, read)
    assert names(server) == ["name"]


def test_a_server_without_scripts_is_told_by_what_it_says() -> None:
    assert no_scripts(resp.NoPermission("NOPERM", "x"))
    assert no_scripts(resp.ServerError("ERR", "unknown command"))
    for other in (
        resp.ServerError("OOM", "x"),
        resp.WrongType("WRONGTYPE", "x"),
        resp.ReadOnly("READONLY", "x"),
        1,
        None,
    ):
        assert not no_scripts(other)


def test_lives_are_whole_milliseconds_and_never_none() -> None:
    assert [round_trips.milliseconds(seconds) for seconds in (1.5, 0.0015, 0.0001, 0.0, -5.0)] == [1500, 1, 1, 1, 1]
    assert round_trips.IMMUTABLE_LIFE == round_trips.EPOCH_LIFE == 7 * 86_400
    assert round_trips.script("  a\n  b ") == "a b"


def test_signatures_are_of_one_record_at_one_place() -> None:
    signed = OURS.signed("place", b'{"a":1}')
    assert OURS.whose("place", signed) is Signature.OURS
    assert OURS.whose("other", signed) is Signature.NONE
    assert RecordKey(b"others").whose("place", signed) is Signature.OTHERS
    assert OURS.whose("place", b'{"a":1}') is Signature.NONE
    assert OURS.whose("place", signed.replace(b'"a":1', b'"a":2')) is Signature.NONE
    assert json.loads(signed)["a"] == 1
    assert OURS.signed("place", b'{"a":1}') == signed
