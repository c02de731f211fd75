# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who may have which host, as plans over keys in memory: each rule by what is written, taken away and told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from addon.domains import claims
from addon.domains.claims import DesiredDomain, Outcome
from addon.domains.transactions import Planned, Value, View, planned
from addon.shared.domain_mappings import Mapping as Shown
from addon.shared.domain_records import Claim, SiteDomains, read_record, record_of

NOW = 1_700_000_000.0
ALICE, BOB = Shown("Alice", "Blog"), Shown("bob", "Site")
RECORD, BOBS_RECORD = "~pages:domains:alice/blog", "~pages:domains:bob/site"
HOST = "blog.example"


class Keys(dict[str, bytes]):
    """What stands in the store."""

    def run(self, plan: Planned[Any]) -> Any:
        """Carry a plan out; what it says."""
        _, writes, told = planned(plan, lambda names: [self.get(name) for name in names])
        for name, value in writes.items():
            if value is None:
                self.pop(name, None)
            else:
                self[name] = value
        return told

    def settled(
        self,
        *wishes: DesiredDomain,
        site: Shown = ALICE,
        number: int = 7,
        beaten: Mapping[str, Shown] | None = None,
        found: tuple[str, ...] = (),
        now: float = NOW,
    ) -> Outcome:
        told = self.run(claims.settled(site, number, wishes, beaten=beaten or {}, found=found, now=now))
        assert isinstance(told, Outcome)
        return told

    def record(self, name: str = RECORD) -> SiteDomains:
        return read_record(self[name])

    @property
    def mappings(self) -> dict[str, str]:
        """What the plugin sees."""
        return {name: value.decode() for name, value in self.items() if not name.startswith("~")}


def wishes(*hosts: str, **branches: str) -> list[DesiredDomain]:
    """Domains, and branches below the first of them."""
    below = [DesiredDomain(f"{label}.{hosts[0]}", branch) for label, branch in branches.items()]
    return [*(DesiredDomain(host) for host in hosts), *below]


def recorded(*all_claims: Claim, number: int = 7, site: Shown = ALICE, gone: float | None = None) -> bytes:
    return record_of(SiteDomains(site.owner, site.repository, number, all_claims, gone))


def theirs() -> Keys:
    """Bob has a domain with a branch, and another domain."""
    keys = Keys()
    keys.settled(*wishes(HOST, "other.example", dev="dev"), site=BOB, number=8)
    return keys


# --- what nobody has --------------------------------------------------------------------------------------------------


def test_a_host_that_nobody_has_is_its_first_claimants() -> None:
    keys = Keys()
    told = keys.settled(*wishes(HOST, "www.blog.example", dev="feature/x"))
    assert told.registered == (HOST, "www.blog.example", "dev.blog.example")
    assert told.held == {HOST: ALICE, "www.blog.example": ALICE, "dev.blog.example": ALICE._replace(branch="feature/x")}
    assert (told.released, told.refused, told.conflicts, told.foreign) == ((), {}, {}, False)
    assert keys.mappings == {
        "custom_domain:blog.example": "Alice:Blog",
        "custom_domain:www.blog.example": "Alice:Blog",
        "custom_domain:dev.blog.example": "Alice:Blog:feature/x",
        "Alice:Blog": "blog.example",
        "Alice:Blog:branch:feature/x": "dev.blog.example",
    }
    assert keys.record() == told.record
    assert told.record == SiteDomains(
        *("Alice", "Blog", 7),
        (Claim(HOST, None, NOW), Claim("www.blog.example", None, NOW), Claim("dev.blog.example", "feature/x", NOW)),
    )


def test_what_a_site_has_it_keeps_and_nothing_is_written() -> None:
    keys = Keys()
    keys.settled(*wishes(HOST, dev="dev"))
    before = dict(keys)
    told = keys.settled(*wishes(HOST, dev="dev"), now=NOW + 1000)
    assert (told.registered, told.released) == ((), ())
    assert set(told.held) == {HOST, "dev.blog.example"}
    assert keys == before


def test_what_a_site_wants_no_longer_is_freed() -> None:
    keys = Keys()
    keys.settled(*wishes(HOST, "other.example", dev="dev"))
    told = keys.settled(*wishes("other.example"))
    assert sorted(told.released) == [HOST, "dev.blog.example"]
    assert told.held == {"other.example": ALICE}
    assert keys.mappings == {"custom_domain:other.example": "Alice:Blog", "Alice:Blog": "other.example"}
    told = keys.settled()
    assert told.released == ("other.example",)
    assert told.record is None
    assert keys == {}


def test_of_two_domains_of_a_site_the_first_is_what_its_reverse_key_says() -> None:
    keys = Keys()
    keys.settled(*wishes(HOST, "other.example"))
    assert keys["Alice:Blog"] == b"blog.example"
    told = keys.settled(*wishes("other.example", HOST))
    assert keys["Alice:Blog"] == b"other.example"
    assert (told.registered, told.released) == ((), ())


def test_a_host_changes_its_branch_with_its_reverse_key() -> None:
    keys = Keys()
    keys.settled(*wishes(HOST, dev="dev"))
    told = keys.settled(*wishes(HOST, dev="Dev"), now=NOW + 5)
    assert told.registered == ("dev.blog.example",)
    assert told.released == ()
    assert keys["custom_domain:dev.blog.example"] == b"Alice:Blog:Dev"
    assert "Alice:Blog:branch:dev" not in keys
    assert keys["Alice:Blog:branch:Dev"] == b"dev.blog.example"
    assert keys.record().claim("dev.blog.example") == Claim("dev.blog.example", "Dev", NOW + 5)


def test_a_site_whose_name_is_another_kind_of_key_has_no_reverse_key() -> None:
    keys = Keys()
    keys.settled(*wishes(HOST, dev="dev"), site=Shown("traefik", "blog"))
    assert keys.mappings == {
        "custom_domain:blog.example": "traefik:blog",
        "custom_domain:dev.blog.example": "traefik:blog:dev",
    }


# --- what may not be had ----------------------------------------------------------------------------------------------


def test_a_refused_wish_is_granted_only_to_who_has_it() -> None:
    keys = Keys()
    told = keys.settled(DesiredDomain(HOST, refusal="no proof"), DesiredDomain("other.example"))
    assert told.refused == {HOST: "no proof"}
    assert set(told.held) == {"other.example"}
    assert keys.record().claim(HOST) is None
    keys.settled(DesiredDomain(HOST), DesiredDomain("other.example"))
    told = keys.settled(DesiredDomain(HOST, refusal="DNS is silent"), DesiredDomain("other.example"))
    assert (told.refused, set(told.held)) == ({}, {HOST, "other.example"})


def test_a_branch_has_a_host_only_below_a_first_domain_that_is_held() -> None:
    keys = theirs()
    branch = DesiredDomain("qa.blog.example", "qa")
    told = keys.settled(DesiredDomain(HOST), DesiredDomain("alice.example"), branch)
    assert told.refused["qa.blog.example"] == "its domain blog.example is not this site's"
    assert set(told.held) == {"alice.example"}
    assert "custom_domain:qa.blog.example" not in keys
    assert "Alice:Blog" not in keys  # which says the first domain, and that is another's


def test_a_host_of_another_site_is_refused_and_named() -> None:
    keys = theirs()
    before = dict(keys)
    told = keys.settled(*wishes(HOST), DesiredDomain("dev.blog.example", None), DesiredDomain("free.example"))
    assert told.refused == {HOST: "it shows bob/Site", "dev.blog.example": "it shows bob/Site, branch dev"}
    assert told.conflicts == {HOST: BOB, "dev.blog.example": BOB._replace(branch="dev")}
    assert set(told.held) == {"free.example"}
    assert before.items() <= keys.items()
    told = keys.settled(DesiredDomain(HOST, refusal="no proof"))
    assert told.refused == {HOST: "it shows bob/Site; no proof"}


def test_nonsense_at_a_host_is_another_sites() -> None:
    keys = Keys({f"custom_domain:{HOST}": b"nonsense"})
    told = keys.settled(*wishes(HOST))
    assert (told.refused, told.conflicts, told.held) == ({HOST: "it shows another site"}, {}, {})
    assert keys == {f"custom_domain:{HOST}": b"nonsense"}


def test_a_claim_on_what_shows_another_site_by_now_is_dropped() -> None:
    keys = Keys({RECORD: recorded(Claim(HOST), Claim("mine.example")), f"custom_domain:{HOST}": b"carol:x"})
    told = keys.settled(*wishes(HOST, "mine.example"))
    assert told.conflicts == {HOST: Shown("carol", "x")}
    assert [claim.host for claim in keys.record().claims] == ["mine.example"]
    assert keys[f"custom_domain:{HOST}"] == b"carol:x"
    assert told.released == ()


# --- set by hand ------------------------------------------------------------------------------------------------------


def test_what_was_set_by_hand_is_served_and_never_ours_to_release() -> None:
    keys = Keys({f"custom_domain:{HOST}": b"alice:blog"})
    told = keys.settled(*wishes(HOST, dev="dev"))
    assert told.held[HOST] == Shown("alice", "blog")
    assert told.registered == ("dev.blog.example",)
    assert [claim.host for claim in keys.record().claims] == ["dev.blog.example"]
    keys.settled()
    assert keys.mappings == {f"custom_domain:{HOST}": "alice:blog"}


def test_what_was_set_by_hand_to_another_branch_is_refused() -> None:
    keys = Keys({f"custom_domain:{HOST}": b"alice:blog:dev"})
    told = keys.settled(*wishes(HOST))
    assert told.refused == {HOST: "it was set by hand to show another branch"}
    assert told.held == {}
    assert keys == {f"custom_domain:{HOST}": b"alice:blog:dev"}


def test_a_claim_that_was_deleted_by_hand_is_registered_anew() -> None:
    keys = Keys()
    keys.settled(*wishes(HOST, "other.example"))
    del keys[f"custom_domain:{HOST}"]
    told = keys.settled(*wishes(HOST, "other.example"))
    assert told.registered == (HOST,)
    del keys[f"custom_domain:{HOST}"]
    told = keys.settled(*wishes("other.example"))
    assert told.released == ()  # it was free already
    assert [claim.host for claim in keys.record().claims] == ["other.example"]


# --- the plugin's -----------------------------------------------------------------------------------------------------


def test_what_the_plugin_registered_is_taken_over_by_its_reverse_key() -> None:
    keys = Keys(
        {
            f"custom_domain:{HOST}": b"alice:blog",
            "alice:blog": b"blog.example",
            "custom_domain:dev.blog.example": b"alice:blog:dev",
            "alice:blog:branch:dev": b"Dev.blog.example",
            "custom_domain:by-hand.example": b"alice:blog",
        }
    )
    told = keys.settled(*wishes(HOST), found=("dev.blog.example", "by-hand.example"))
    assert told.released == ("dev.blog.example",)
    assert keys.record().claims == (Claim(HOST, None, NOW),)
    assert keys.mappings == {
        f"custom_domain:{HOST}": "alice:blog",
        "alice:blog": "blog.example",
        "custom_domain:by-hand.example": "alice:blog",
    }


def test_what_a_reverse_key_says_of_another_sites_host_is_not_taken_over() -> None:
    keys = theirs() | {"Alice:Blog": HOST.encode()}
    keys = Keys(keys)
    told = keys.settled()
    assert told.released == ()
    assert keys[f"custom_domain:{HOST}"] == b"bob:Site"


def test_what_the_plugin_wrote_in_capitals_is_nobodys_and_goes() -> None:
    keys = Keys({"custom_domain:Blog.Example": b"alice:blog", "alice:blog": b"Blog.Example"})
    told = keys.settled(*wishes("other.example"))
    assert told.held == {"other.example": ALICE}
    assert keys.mappings == {"custom_domain:other.example": "Alice:Blog", "Alice:Blog": "other.example"}
    keys = Keys(
        {
            "custom_domain:Blog.Example": b"alice:blog",
            "custom_domain:blog.example": b"alice:blog",
            "alice:blog": b"Blog.Example",
        }
    )
    keys.settled(*wishes(HOST), site=Shown("alice", "blog"))
    assert keys.mappings == {f"custom_domain:{HOST}": "alice:blog", "alice:blog": "blog.example"}
    for other in ("aaron:x", "carol:x", "alice:blo", "alice:blogs"):
        keys = Keys({"custom_domain:Blog.Example": other.encode(), "Alice:Blog": b"Blog.Example"})
        keys.settled()
        assert keys.mappings == {"custom_domain:Blog.Example": other, "Alice:Blog": "Blog.Example"}


@pytest.mark.parametrize("value", [b"", b"x" * 254, b"X" * 254])
def test_a_reverse_key_that_says_no_host_is_left_alone(value: bytes) -> None:
    keys = Keys({"Alice:Blog": value})
    assert keys.settled().released == ()
    assert keys == {"Alice:Blog": value}


def test_a_reverse_key_is_read_up_to_the_length_of_a_host() -> None:
    host = "b" * 249 + ".net"
    keys = Keys({"alice:blog": host.encode(), f"custom_domain:{host}": b"alice:blog"})
    assert keys.settled().released == (host,)
    assert keys == {}
    keys = Keys({"alice:blog": host.upper().encode(), f"custom_domain:{host.upper()}": b"alice:blog"})
    keys.settled()
    assert keys == {}


# --- proofs -----------------------------------------------------------------------------------------------------------


def test_a_proof_is_noted_with_its_time() -> None:
    keys = Keys()
    keys.settled(DesiredDomain(HOST, proven="TXT"))
    assert keys.record().claims == (Claim(HOST, None, NOW, "TXT", NOW),)
    keys.settled(DesiredDomain(HOST), now=NOW + 5)  # not asked this time
    assert keys.record().claims == (Claim(HOST, None, NOW, "TXT", NOW),)
    keys[RECORD] = recorded(Claim(HOST, None, NOW, "TXT", NOW, NOW + 1))
    keys.settled(DesiredDomain(HOST, proven="TXT"), now=NOW + 9)
    assert keys.record().claims == (Claim(HOST, None, NOW, "TXT", NOW + 9, None),)


@pytest.mark.parametrize(
    ("before", "now", "another"), [(7, 7, False), (0, 7, False), (7, 0, False), (7, 8, True), (7, 6, True)]
)
def test_another_repository_of_the_same_name_inherits_no_proof_and_nothing_that_it_may_not_have(
    before: int, now: int, another: bool
) -> None:
    keys = Keys(
        {
            RECORD: recorded(Claim(HOST, None, NOW, "TXT", NOW, NOW), Claim("b.example", None, NOW), number=before),
            f"custom_domain:{HOST}": b"Alice:Blog",
            "custom_domain:b.example": b"Alice:Blog",
        }
    )
    told = keys.settled(DesiredDomain(HOST), DesiredDomain("b.example", refusal="no proof"), number=now)
    assert told.refused == ({"b.example": "no proof"} if another else {})
    assert told.released == (("b.example",) if another else ())
    proven = Claim(HOST, None, NOW) if another else Claim(HOST, None, NOW, "TXT", NOW, NOW)
    assert keys.record().claim(HOST) == proven
    assert keys.record().id == now


# --- taken from others ------------------------------------------------------------------------------------------------


def test_who_was_beaten_loses_the_host_and_those_of_branches_below_it() -> None:
    keys = theirs()
    told = keys.settled(*wishes(HOST), beaten={HOST: BOB})
    assert told.held == {HOST: ALICE}
    assert told.registered == (HOST,)
    assert told.released == ("dev.blog.example",)
    assert keys.mappings == {
        f"custom_domain:{HOST}": "Alice:Blog",
        "Alice:Blog": HOST,
        "custom_domain:other.example": "bob:Site",
    }
    assert [claim.host for claim in keys.record(BOBS_RECORD).claims] == ["other.example"]
    assert keys.record(BOBS_RECORD).id == 8


def test_who_has_nothing_left_has_no_record() -> None:
    keys = Keys()
    keys.settled(*wishes(HOST), site=BOB, number=8)
    keys.settled(*wishes(HOST), beaten={HOST: BOB})
    assert BOBS_RECORD not in keys


@pytest.mark.parametrize("beaten", [{}, {HOST: Shown("carol", "x")}, {"other.example": BOB}])
def test_nobody_loses_what_another_was_beaten_for(beaten: dict[str, Shown]) -> None:
    keys = theirs()
    told = keys.settled(*wishes(HOST), beaten=beaten)
    assert told.conflicts == {HOST: BOB}
    assert keys[f"custom_domain:{HOST}"] == b"bob:Site"


def test_a_refused_wish_takes_nothing_from_who_was_beaten() -> None:
    keys = theirs()
    told = keys.settled(DesiredDomain(HOST, refusal="no proof"), beaten={HOST: BOB})
    assert told.refused == {HOST: "it shows bob/Site; no proof"}


def test_what_was_set_by_hand_for_another_stays_and_so_does_what_a_newer_version_wrote() -> None:
    keys = Keys({f"custom_domain:{HOST}": b"bob:site"})
    assert keys.settled(*wishes(HOST), beaten={HOST: BOB}).conflicts == {HOST: Shown("bob", "site")}
    keys = Keys(theirs() | {BOBS_RECORD: b'{"v":2}'})
    assert keys.settled(*wishes(HOST), beaten={HOST: BOB}).conflicts == {HOST: BOB}


def test_a_site_that_is_gone_and_beaten_is_gone_as_long_as_before() -> None:
    keys = theirs()
    keys.run(claims.vanished(BOB, found=(), now=NOW, grace=100.0))
    keys.settled(*wishes(HOST), beaten={HOST: BOB}, now=NOW + 50)
    assert keys.record(BOBS_RECORD).gone == NOW


# --- records that are not ours to read --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [b'{"v":2}', b'{"v":0}'])
def test_a_site_of_another_version_is_left_alone(value: bytes) -> None:
    keys = Keys({RECORD: value, f"custom_domain:{HOST}": b"alice:blog"})
    before = dict(keys)
    assert keys.settled(*wishes("other.example")) == Outcome(foreign=True)
    assert keys.run(claims.vanished(ALICE, found=(), now=NOW, grace=0.0)) == Outcome(foreign=True)
    assert keys.run(claims.released(HOST)) == Outcome(foreign=True)
    assert keys.run(claims.claim_changed("Alice", "Blog", HOST, lambda claim: claim)) is False
    assert keys == before


def test_a_record_that_cannot_be_read_is_written_anew() -> None:
    keys = Keys({RECORD: b"nonsense"})
    keys.settled(*wishes(HOST))
    assert [claim.host for claim in keys.record().claims] == [HOST]
    keys = Keys({RECORD: b"nonsense"})
    keys.settled()
    assert keys == {}


# --- gone, released, looked at again ----------------------------------------------------------------------------------


def test_a_site_that_is_gone_keeps_its_hosts_for_a_grace() -> None:
    keys = Keys()
    keys.settled(*wishes(HOST, dev="dev"))
    mappings = keys.mappings
    for now in (NOW, NOW + 50, NOW + 99):
        told = keys.run(claims.vanished(Shown("alice", "blog"), found=(), now=now, grace=100.0))
        assert told.released == ()
        assert told.record == keys.record()
        assert (told.record.gone, told.record.id, told.record.owner) == (NOW, 7, "Alice")
        assert keys.mappings == mappings
    told = keys.run(claims.vanished(Shown("alice", "blog"), found=(), now=NOW + 100, grace=100.0))
    assert sorted(told.released) == [HOST, "dev.blog.example"]
    assert told.record is None
    assert keys == {}


def test_a_site_that_comes_back_is_gone_no_longer() -> None:
    keys = Keys()
    keys.settled(*wishes(HOST))
    keys.run(claims.vanished(ALICE, found=(), now=NOW, grace=100.0))
    keys.settled(*wishes(HOST), now=NOW + 50)
    assert keys.record().gone is None


def test_what_the_plugin_registered_of_a_site_that_is_gone_goes_as_well() -> None:
    plugins = {f"custom_domain:{HOST}": b"alice:blog", "alice:blog": b"blog.example"}
    keys = Keys(plugins)
    told = keys.run(claims.vanished(Shown("alice", "blog"), found=(), now=NOW, grace=100.0))
    assert (told.record.id, told.record.gone, told.released) == (0, NOW, ())
    keys = Keys(plugins)
    assert keys.run(claims.vanished(Shown("alice", "blog"), found=(), now=NOW, grace=0.0)).released == (HOST,)
    assert keys == {}


def test_one_host_is_freed_with_those_of_branches_below_it() -> None:
    keys = theirs()
    keys.run(claims.vanished(BOB, found=(), now=NOW, grace=100.0))
    told = keys.run(claims.released(HOST))
    assert told.released == (HOST, "dev.blog.example")
    assert [claim.host for claim in told.record.claims] == ["other.example"]
    assert keys.record(BOBS_RECORD) == told.record
    assert (told.record.id, told.record.gone) == (8, NOW)
    told = keys.run(claims.released("other.example"))
    assert (told.released, told.record) == (("other.example",), None)
    assert keys == {}
    assert keys.run(claims.released(HOST)) == Outcome()


def test_a_domain_below_another_is_none_of_its_branches() -> None:
    keys = Keys()
    keys.settled(*wishes(HOST, "www.blog.example", "notblog.example", dev="dev"))
    assert keys.run(claims.released(HOST)).released == (HOST, "dev.blog.example")
    assert [claim.host for claim in keys.record().claims] == ["www.blog.example", "notblog.example"]


def test_what_was_set_by_hand_is_freed_by_hand_alone() -> None:
    keys = Keys({f"custom_domain:{HOST}": b"alice:blog"})
    assert keys.run(claims.released(HOST)) == Outcome(refused={HOST: "it was set by hand"})
    assert keys
    assert keys.run(claims.released(HOST, by_hand=True)) == Outcome(released=(HOST,))
    assert keys == {}
    keys = Keys({f"custom_domain:{HOST}": b"nonsense"})
    assert keys.run(claims.released(HOST)) == Outcome()
    assert keys
    assert keys.run(claims.released(HOST, by_hand=True)) == Outcome(released=(HOST,))
    assert keys == {}
    assert keys.run(claims.released(HOST, by_hand=True)) == Outcome()


def test_a_release_that_nobody_recorded_is_written_with_no_number() -> None:
    keys = Keys(
        {
            f"custom_domain:{HOST}": b"alice:blog",
            "alice:blog": b"blog.example",
            RECORD: recorded(Claim("b.example"), number=0),
            "custom_domain:b.example": b"alice:blog",
        }
    )
    told = keys.run(claims.released(HOST))
    assert told.released == (HOST,)
    assert told.record == SiteDomains("alice", "blog", 0, (Claim("b.example"),))


def test_a_host_of_the_plugins_is_freed_and_what_is_left_is_recorded_without_a_number() -> None:
    keys = Keys(
        {
            f"custom_domain:{HOST}": b"alice:blog",
            "alice:blog": HOST.encode(),
            "custom_domain:dev.blog.example": b"alice:blog:dev",
            "alice:blog:branch:dev": b"dev.blog.example",
        }
    )
    told = keys.run(claims.released("dev.blog.example"))
    assert told.released == ("dev.blog.example",)
    assert keys.record() == SiteDomains("alice", "blog", 0, (Claim(HOST),))
    assert keys.mappings == {f"custom_domain:{HOST}": "alice:blog", "alice:blog": HOST}


@pytest.mark.parametrize(
    "other", [Shown("aaron", "x"), Shown("alice", "blo"), Shown("alice", "blogs"), Shown("z", "x")]
)
def test_hosts_of_others_are_theirs_whatever_they_are_called(other: Shown) -> None:
    keys = Keys()
    keys.settled(*wishes(HOST, dev="dev"), site=other, number=9)
    before = dict(keys)
    told = keys.settled(*wishes(HOST), found=(HOST, "dev.blog.example"))
    assert told.conflicts == {HOST: other}
    keys[RECORD] = recorded(Claim(HOST), Claim("dev.blog.example", "dev"))
    assert keys.settled().released == ()
    assert keys == before
    assert not keys.settled(*wishes(HOST), beaten={HOST: ALICE}).held


def test_what_is_taken_over_while_another_host_is_freed_was_registered_nobody_knows_when() -> None:
    keys = Keys()
    keys.settled(*wishes(HOST))
    keys |= {"custom_domain:old.example": b"Alice:Blog", "Alice:Blog": b"old.example"}
    keys.run(claims.released(HOST))
    assert keys.record().claims == (Claim("old.example", None, 0.0),)


def test_what_is_noted_of_a_claim_changes_nothing_else() -> None:
    keys = Keys()
    keys.settled(*wishes(HOST, "other.example"))
    before = keys.record()
    changed = keys.run(
        claims.claim_changed("alice", "BLOG", "other.example", lambda claim: Claim(claim.host, None, 5.0, "TXT"))
    )
    assert changed == Claim("other.example", None, 5.0, "TXT")
    assert keys.record() == SiteDomains("Alice", "Blog", 7, (before.claims[0], changed))
    for host, record in (("none.example", keys[RECORD]), (HOST, b"nonsense"), (HOST, b"")):
        keys[RECORD] = record
        assert keys.run(claims.claim_changed("alice", "blog", host, lambda claim: claim)) is False
        assert keys[RECORD] == record
    assert Keys().run(claims.claim_changed("alice", "blog", HOST, lambda claim: claim)) is False


# --- how much is read -------------------------------------------------------------------------------------------------


def reads(keys: Keys, plan: Planned[Any]) -> list[tuple[str, ...]]:
    asked: list[tuple[str, ...]] = []

    def read(names: tuple[str, ...]) -> Iterable[Value]:
        asked.append(names)
        return [keys.get(name) for name in names]

    planned(plan, read)
    return asked


def test_a_plan_reads_all_that_it_can_name_at_once() -> None:
    keys = Keys()
    many = wishes(
        *(f"n{number}.example" for number in range(20)), **{f"b{number}": f"b{number}" for number in range(20)}
    )
    keys.settled(*many)
    for plan in (
        claims.settled(ALICE, 7, many, beaten={}, found=(), now=NOW),
        claims.settled(ALICE, 7, (), beaten={}, found=(), now=NOW),
        claims.vanished(ALICE, found=(), now=NOW, grace=0.0),
        claims.released("n0.example"),
    ):
        assert len(reads(keys, plan)) <= 4


def test_a_view_knows_what_was_read_and_asks_for_the_rest() -> None:
    told = json.loads(recorded(Claim(HOST)))
    assert told["hosts"] == {HOST: {"since": 0}}
    view = View()
    view.values["a"] = None
    view.need("a", None)
    assert view["a"] is None


@pytest.mark.parametrize(
    "refused",
    [
        DesiredDomain("qa.other.example", "qa"),  # without a first domain
        DesiredDomain("theirs.example"),
        DesiredDomain("nonsense.example"),
        DesiredDomain("hand.example"),
        DesiredDomain("unproven.example", refusal="no proof"),
        DesiredDomain("by-hand-too.example", None),
    ],
)
def test_one_wish_that_is_not_granted_keeps_no_other_from_it(refused: DesiredDomain) -> None:
    keys = Keys(
        {
            "custom_domain:nonsense.example": b"nonsense",
            "custom_domain:hand.example": b"alice:blog:dev",
            "custom_domain:by-hand-too.example": b"alice:blog",
        }
    )
    keys.settled(*wishes("theirs.example"), site=BOB, number=8)
    told = keys.settled(refused, DesiredDomain(HOST), DesiredDomain(f"{'b.' * (refused.branch is None)}blog.example"))
    assert HOST in told.held
    assert HOST in told.registered
    assert (refused.host in told.refused) == (refused.host != "by-hand-too.example")


def test_a_branch_that_is_refused_keeps_no_other_from_its_host() -> None:
    keys = Keys({"custom_domain:dev.blog.example": b"alice:blog:other"})
    told = keys.settled(*wishes(HOST, dev="dev", qa="qa"))
    assert set(told.refused) == {"dev.blog.example"}
    assert set(told.held) == {HOST, "qa.blog.example"}
