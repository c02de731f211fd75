# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Records of repositories and commits: what was written is read, and anything else is broken, never half believed."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import replace
from typing import Any

import pytest

import resp
from addon.forgejo.answers import Access, Repository
from addon.shared import records
from addon.shared.lookup import Fault, Lookup
from addon.shared.records import Broken, Foreign, Outdated
from addon.shared.round_trips import checked_replies
from addon.sites import rules
from addon.sites.findings import Finding
from addon.sites.links import Links
from addon.sites.pages_file import PagesFile
from addon.sites.rules import Rules
from addon.sites.site import Site, files_below
from addon.sites.tree import Tree

COMMIT = "c" * 40
OID = "a" * 40
REPOSITORY = Repository("alice", "blog", 7, "main", False, True, False, "sha1", 1700000000.0, Access.ANONYMOUS)


def _site() -> Site:
    tree = files_below(
        [("public/a.html", 0o100644, OID, 3), ("public/run.sh", 0o100755, OID, 0), ("public/l", 0o120000, OID, 6)]
    )
    links = Links(tree, {"l": "a.html"})
    pages = PagesFile(custom_domains=("blog.example",), password="x")
    note = Finding("_headers", 2, "nothing", "remove it", False)
    return Site(
        *("alice", "blog", COMMIT, 1700000000.0, pages, tree, links, "dist/"),
        rules=rules.read({"_redirects": b"/a /b\n/caf\xe9 /c"}),
        notes=(note,),
    )


LOOKUP = Lookup(("alice", "blog"), 1.0, _site(), repository=REPOSITORY, commit=COMMIT, modified=5.0, uses_lfs=False)


def _changed(record: bytes, place: str, value: Any) -> bytes:
    """A record with something else at a place: `site.files.0.3`."""
    told = json.loads(record)
    inner = told
    *path, last = place.split(".")
    for part in path:
        inner = inner[int(part)] if isinstance(inner, list) else inner[part]
    inner[int(last) if isinstance(inner, list) else last] = value
    return json.dumps(told).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("prefix", [None, "", "public/", "a/b/"])
def test_where_a_site_lies_in_its_repository_is_read_as_it_was_written(prefix: str | None) -> None:
    assert LOOKUP.site is not None
    lookup = dataclasses.replace(LOOKUP, site=dataclasses.replace(LOOKUP.site, prefix=prefix))
    found = records.read_site(records.site_record(lookup), COMMIT)
    assert found.site is not None
    assert found.site.prefix == prefix


def test_what_was_written_of_a_commit_is_read() -> None:
    data = records.site_record(LOOKUP)
    found = records.read_site(data, COMMIT)
    assert (found.fault, found.uses_lfs, found.line, found.reason) == (None, False, None, "")
    site, before = found.site, LOOKUP.site
    assert site is not None
    assert before is not None
    assert (site.owner, site.name, site.commit, site.modified) == ("alice", "blog", COMMIT, 1700000000.0)
    assert (site.pages_file, site.prefix, site.notes) == (before.pages_file, "dist/", before.notes)
    assert list(site.tree.rows()) == list(before.tree.rows())
    assert site.links is not None
    assert site.links.targets == {"l": "a.html"}
    assert (site.rules.files(), site.rules.most) == (before.rules.files(), before.rules.most)
    # Told without making it, so as not to make what is too large: not less than it is, and not much more.
    assert len(data) <= records.site_record_size(LOOKUP) <= len(data) + 5000


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("commit", "d" * 40),
        ("fault", "no such"),
        ("fault", "trouble"),
        ("fault", 1),
        ("site", None),
        ("site", []),
        ("line", "2"),
        ("line", True),
        ("reason", None),
        ("uses_lfs", None),
        ("site.owner", "../x"),
        ("site.name", "a/b"),
        ("site.name", None),
        ("site.modified", None),
        ("site.modified", "now"),
        ("site.modified", 2.0**63),
        ("site.modified", -(2.0**63)),
        ("site.links", []),
        ("site.links", {"l": 1}),
        ("site.root", "dist"),
        ("site.root", "../"),
        ("site.root", 1),
        ("site.pages.custom_domains", "blog.example"),
        ("site.pages.custom_domains", ["blog.example", 1]),
        ("site.pages.enabled", 1),
        ("site.pages.password", None),
        ("site.rules", []),
        ("site.rules", {"_headers": 1}),
        ("site.rules", {"_headers": "\ud800"}),
        ("site.max_redirects", -1),
        ("site.max_redirects", 100_001),
        ("site.max_redirects", True),
        ("site.notes", None),
        ("site.notes.0", "note"),
        ("site.notes.0", ["_headers", 2, "nothing", "remove it"]),
        ("site.notes.0", ["_headers", 2, "nothing", "remove it", False, None]),
        ("site.notes.0.0", 1),
        ("site.notes.0.1", "2"),
        ("site.notes.0.2", None),
        ("site.notes.0.3", 1),
        ("site.notes.0.4", 0),
        ("site.files", {}),
        ("site.files.0", "a.html"),
        ("site.files.0", ["a.html", "100644", OID]),
        ("site.files.0.0", 1),
        ("site.files.0.0", "../a.html"),
        ("site.files.0.1", 33188),
        ("site.files.0.1", "x"),
        ("site.files.0.1", "40000"),
        ("site.files.0.2", "a"),
        ("site.files.0.3", -1),
        ("site.files.0.3", 2**63),
        ("site.files.0.3", True),
        ("site.files.0.2", "a" * 64),
    ],
)
def test_a_record_of_a_commit_that_cannot_be_ours_is_broken(place: str, value: Any) -> None:
    with pytest.raises(Broken):
        records.read_site(_changed(records.site_record(LOOKUP), place, value), COMMIT)


def test_what_ours_can_say_at_its_limits_is_read() -> None:
    for place, value in (("site.max_redirects", 0), ("site.max_redirects", 100_000), ("site.files.0.3", 2**63 - 1)):
        assert records.read_site(_changed(records.site_record(LOOKUP), place, value), COMMIT).site is not None


def test_what_was_written_of_a_repository_is_read() -> None:
    found = records.read_repository(records.repository_record(LOOKUP, "e.1", 30.0))
    assert (found.repository, found.fault, found.commit) == (REPOSITORY, None, COMMIT)
    assert (found.epoch, found.life) == ("e.1", 30.0)
    for fault in (Fault.ABSENT, Fault.REFUSED):
        told = records.read_repository(records.repository_record(Lookup(("a", "b"), 1.0, fault=fault), "e.1", 30.0))
        assert (told.repository, told.fault) == (None, fault)
    ref = records.read_ref(records.ref_record(LOOKUP, "e.1", 30.0))
    assert (ref.commit, ref.modified, ref.epoch, ref.life) == (COMMIT, 5.0, "e.1", 30.0)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("fault", "broken"),
        ("fault", 1),
        ("owner", "../x"),
        ("name", "a/b"),
        ("branch", "a..b"),
        ("id", "7"),
        ("public", 1),
        ("archived", None),
        ("object_format", "md5"),
        ("updated", "now"),
        ("access", "anybody"),
        ("life", 0),
        ("life", 10 * 365 * 86400),
        ("life", "30"),
        ("epoch", 1),
        ("v", "1"),
        ("v", 0.5),
    ],
)
def test_a_record_of_a_repository_that_cannot_be_ours_is_broken(place: str, value: Any) -> None:
    with pytest.raises(Broken):
        records.read_repository(_changed(records.repository_record(LOOKUP, "e.1", 30.0), place, value))


@pytest.mark.parametrize(("place", "value"), [("commit", "main"), ("modified", "now"), ("life", -1), ("epoch", 1)])
def test_a_record_of_a_ref_that_cannot_be_ours_is_broken(place: str, value: Any) -> None:
    with pytest.raises(Broken):
        records.read_ref(_changed(records.ref_record(LOOKUP, "e.1", 30.0), place, value))


def test_records_of_other_versions_are_foreign_or_replaced() -> None:
    site = records.site_record(LOOKUP)
    version = json.loads(site)["v"]
    with pytest.raises(Foreign):
        records.read_site(_changed(site, "v", version + 1), COMMIT)
    with pytest.raises(Foreign):
        records.read_site(_changed(site, "v", 0), COMMIT)
    if version > 1:
        with pytest.raises(Outdated):
            records.read_site(_changed(site, "v", version - 1), COMMIT)
    with pytest.raises(Broken):
        records.read_ref(b"[]")
    with pytest.raises(Broken):
        records.read_ref(b"[" * 100_000)


def test_an_error_among_replies_is_raised() -> None:
    replies = [b"x", None, resp.ServerError("ERR", "x")]
    assert checked_replies(replies[:2]) == replies[:2]
    with pytest.raises(resp.ServerError):
        checked_replies(replies)


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        (b"~pages:ref:alice/blog@main", ("~pages:ref:", ("alice", "blog@main"))),
        (b"~pages:ref:alice/blog@feature/x", ("~pages:ref:", ("alice", "blog@feature/x"))),
        (b"~pages:repo:alice/blog", ("~pages:repo:", ("alice", "blog"))),
        (b"~pages:epoch:alice/blog", ("~pages:epoch:", ("alice", "blog"))),
        (b"~pages:epoch:", ("~pages:epoch:", None)),
        (b"password:Alice:Blog", ("password:", ("alice", "blog"))),
        (b"password:alice/blog", None),
        (b"password:", None),
        (b"~pages:ref:", None),
        (b"~pages:repo:", None),
        (b"~pages:repo:alice", None),
        (b"~pages:epoch:alice", None),
        (b"~pages:blob:a", None),
        (b"~pages:lock:alice/blog", None),
        (b"custom_domain:blog.example", None),
        (b"x~pages:repo:alice/blog", None),
        (b"~pages:repo:\xff/blog", ("~pages:repo:", ("\ufffd", "blog"))),
        (b"", None),
    ],
)
def test_a_key_that_changes_tells_whose_it_is(name: bytes, subject: object) -> None:
    assert records.subject_of_key(name) == subject


def test_keys_are_as_documented() -> None:
    key, branch = ("alice", "blog"), ("alice", "blog@dev")
    assert records.repository_key(branch) == "~pages:repo:alice/blog@dev"
    assert [records.ref_key(each, "main") for each in (key, branch)] == [
        "~pages:ref:alice/blog@main",
        "~pages:ref:alice/blog@dev",
    ]
    assert [records.epoch_key(each) for each in (None, key, branch)] == [
        "~pages:epoch:",
        "~pages:epoch:alice/blog",
        "~pages:epoch:alice/blog",
    ]
    assert records.site_key(branch, "c") == "~pages:site:alice/blog@c"
    assert records.object_key(branch, "o") == "~pages:lfs:alice/blog:o"
    assert (records.blob_key("b"), records.lock_key(branch)) == ("~pages:blob:b", "~pages:lock:alice/blog@dev")
    assert records.password_key("Alice", "Blog") == "password:alice:Blog"
    told = [records.told_password_key("Alice", "Blog", clustered=each) for each in (False, True)]
    assert told == ["~pages:password:alice:Blog", "~pages:{password:alice:Blog}"]
    assert records.password_place(REPOSITORY) == ("alice", "blog")


def test_a_life_is_more_than_nothing_and_less_than_ten_years() -> None:
    record = records.repository_record(LOOKUP, "e.1", 30.0)
    for life in (0.001, 1, 10 * 365 * 86400 - 1):
        assert records.read_repository(_changed(record, "life", life)).life == life
    for life in (0, -1, 10 * 365 * 86400, 2.0**63, float("nan"), True):
        with pytest.raises(Broken):
            records.read_repository(_changed(record, "life", life))
    assert records.read_repository(_changed(record, "life", None)).life is None


@pytest.mark.parametrize("field", ["owner", "name", "branch", "id", "public", "archived", "object_format", "access"])
def test_what_a_record_of_a_repository_lacks_makes_it_none(field: str) -> None:
    told = json.loads(records.repository_record(LOOKUP, "e.1", 30.0))
    del told[field]
    with pytest.raises(Broken):
        records.read_repository(json.dumps(told).encode())


def test_what_was_made_by_hand_needs_no_more_than_it_says() -> None:
    for name in ("epoch", "life", "at", "updated", "commit"):
        told = json.loads(records.repository_record(LOOKUP, "e.1", 30.0))
        del told[name]
        found = records.read_repository(json.dumps(told).encode())
        assert found.repository is not None
        assert found.commit == (None if name == "commit" else COMMIT)
    hand = records.read_ref(json.dumps({"v": 1, "commit": COMMIT}).encode())
    assert hand == records.RefRecord(COMMIT, None, None, None, None)
    assert records.read_repository(_changed(records.repository_record(LOOKUP, "e", 1.0), "commit", "x")).commit is None


def test_a_record_says_when_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1700000000.6)
    assert records.read_repository(records.repository_record(LOOKUP, "e", 1.0)).at == 1700000001.0
    assert records.read_ref(records.ref_record(LOOKUP, "e", 1.0)).at == 1700000001.0


def test_what_a_look_did_not_find_is_no_repository() -> None:
    bare = Lookup(("a", "b"), 1.0, fault=Fault.TOO_LARGE)
    with pytest.raises(Broken):
        records.read_repository(records.repository_record(bare, "e", 1.0))
    refused = replace(LOOKUP, fault=Fault.REFUSED)
    assert records.read_repository(records.repository_record(refused, "e", 1.0)).repository is None


@pytest.mark.parametrize("fault", [Fault.UNCONFIGURED, Fault.BROKEN])
def test_why_a_commit_is_no_site_is_read(fault: Fault) -> None:
    lookup = replace(LOOKUP, site=None, fault=fault, line=3, reason="a reason", uses_lfs=True)
    found = records.read_site(records.site_record(lookup), COMMIT)
    assert found == records.Contents(fault, None, True, 3, "a reason")
    assert records.site_record_size(lookup) == 1000
    for other in (Fault.ABSENT, Fault.REFUSED, Fault.TOO_LARGE):
        with pytest.raises(Broken):
            records.read_site(records.site_record(replace(lookup, fault=other)), COMMIT)


def test_what_a_record_will_take_is_the_sum_of_its_parts() -> None:
    tree = files_below([(f"public/{number}{'x' * 150}", 0o100644, OID, 3) for number in range(400)])
    pages = PagesFile(custom_domains=tuple(f"{'x' * 100}{number}" for number in range(600)))
    written = rules.read({"_redirects": b"".join(b"/a%d /b%d\n" % (n, n * n) for n in range(900))})
    links = {f"l{number}": "x" * 1000 for number in range(60)}

    def size(**parts: Any) -> int:
        bare: dict[str, Any] = {"pages_file": PagesFile(), "tree": Tree([]), "links": None, "rules": Rules()} | parts
        site = Site("alice", "blog", COMMIT, 1.0, bare["pages_file"], bare["tree"], bare["links"], rules=bare["rules"])
        lookup = replace(LOOKUP, site=site)
        if "rules" not in parts:  # of which the text is packed in memory
            assert len(records.site_record(lookup)) <= records.site_record_size(lookup)
        return records.site_record_size(lookup)

    bare = size()
    assert 2_000 < bare < 5_000
    assert size(tree=tree) - bare == tree.json_nbytes - Tree([]).json_nbytes
    assert size(pages_file=pages) - bare == pages.nbytes - PagesFile().nbytes
    assert size(rules=written) - bare == written.nbytes - Rules().nbytes
    assert size(tree=tree, links=Links(tree, links)) - size(tree=tree) == 4 * sum(map(len, [*links, *links.values()]))
    all_of_it = size(tree=tree, pages_file=pages, rules=written, links=Links(tree, links))
    assert all_of_it - bare == sum(
        size(**part) - bare for part in ({"tree": tree}, {"pages_file": pages}, {"rules": written})
    ) + 4 * sum(map(len, [*links, *links.values()]))
