# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a site wishes, and what speaks against it: names, branches, proofs; and a forge that says no, or nothing."""

from __future__ import annotations

import dataclasses

import pytest

from addon.domains.claims import DesiredDomain
from addon.domains.desired_domains import DesiredDomains
from addon.domains.names import DomainNames
from addon.forgejo.answers import Access, Repository
from addon.forgejo.errors import NotFound, Unreachable
from addon.settings.schema import Settings
from addon.shared.domain_mappings import Mapping as Shown
from addon.shared.domain_records import Claim, SiteDomains
from addon.sites.pages_file import PagesFile
from tests.addon.domains.registering import Dns, ToldForge, Word

REPOSITORY = Repository("Alice", "Blog", 7, "main", False, True, False, "sha1", 1.0, Access.ANONYMOUS)
HOST = "blog.example"
SITE = (HOST, "alice/blog")
BOB = Shown("bob", "site")
NAMES = DomainNames(
    Settings.from_mapping(
        {"pagesDomain": "pages.test", "forgejoHost": "http://git.internal", "stateDir": "/nowhere"}, environ={}
    )
)


async def wished(
    pages: PagesFile,
    forge: ToldForge | None = None,
    dns: Dns | None = None,
    record: SiteDomains | None = None,
    *,
    must_prove: bool = False,
) -> tuple[list[DesiredDomain], dict[str, str]]:
    return await DesiredDomains(NAMES, forge or ToldForge(), dns, must_prove=must_prove).of(pages, REPOSITORY, record)


def pages(*domains: str, branches: tuple[str, ...] = ()) -> PagesFile:
    return PagesFile(custom_domains=domains, enable_branches=branches)


async def test_domains_come_in_their_order_and_then_branches_below_the_first() -> None:
    found = await wished(pages(HOST, "Other.example.", HOST, branches=("dev", "Feature/X")))
    assert found == (
        [
            DesiredDomain(HOST),
            DesiredDomain("other.example"),
            DesiredDomain("dev.blog.example", "dev"),
            DesiredDomain("feature-x.blog.example", "Feature/X"),
        ],
        {},
    )
    assert await wished(pages()) == ([], {})


async def test_what_can_never_be_had_is_no_wish_and_keeps_nothing_else_from_being_one() -> None:
    wishes, refused = await wished(pages("pages.test", HOST, "nothing", branches=("www", "dev")))
    assert [wish.host for wish in wishes] == [HOST, "dev.blog.example"]
    assert set(refused) == {"pages.test", "nothing", "www.blog.example"}
    wishes, refused = await wished(pages("pages.test", branches=("dev", "qa")))
    assert wishes == []
    assert set(refused) == {"pages.test", "dev", "qa"}
    assert "there is none" in refused["dev"]


async def test_two_names_for_one_host_are_told() -> None:
    domains = pages(HOST, "www2.blog.example", branches=("feature/x", "www2", "feature-x", "dev"))
    wishes, refused = await wished(domains)
    assert [wish.host for wish in wishes[2:]] == ["feature-x.blog.example", "dev.blog.example"]
    assert refused == {
        "www2": "www2.blog.example is one of the site's domains",
        "feature-x": "feature-x.blog.example is branch feature/x already; rename one of the two",
    }


async def test_a_site_may_have_a_hundred_domains_and_as_many_branches() -> None:
    many = tuple(f"n{number}.example" for number in range(102))
    wishes, refused = await wished(pages(*many, "n3.example", branches=tuple(f"b{number}" for number in range(102))))
    assert len(wishes) == 200
    assert {host: "100 domains" in reason for host, reason in refused.items() if "n0" not in host} == {
        "n100.example": True,
        "n101.example": True,
    }
    assert refused["b100.n0.example"] == refused["b101.n0.example"] == "a site may have the hosts of 100 branches"


# --- Forgejo ----------------------------------------------------------------------------------------------------------


async def test_a_branch_that_is_not_there_is_refused_and_one_of_which_nobody_says_stays_with_who_has_it() -> None:
    forge = ToldForge(gone=NotFound("no"), unsure=NotFound("no", certain=False), away=Unreachable("no"))
    wishes, refused = await wished(pages(HOST, branches=("gone", "a b", "unsure", "away", "dev")), forge)
    assert wishes[1:] == [
        DesiredDomain("unsure.blog.example", "unsure", "Forgejo gives no definite answer about its branch"),
        DesiredDomain("away.blog.example", "away", "Forgejo gives no answer about its branch"),
        DesiredDomain("dev.blog.example", "dev"),
    ]
    assert refused == {"gone.blog.example": "there is no branch gone", "ab.blog.example": "there is no branch a b"}
    assert forge.asked == ["gone", "unsure", "away", "dev"]  # of a name that none can have, nobody asks


async def test_forgejo_is_asked_for_its_own_host_before_anybody_gets_one() -> None:
    forge = ToldForge(root_host="")
    assert (await wished(pages(), forge))[0] == []
    assert forge.asked == []
    assert (await wished(pages(HOST), forge))[0] == [DesiredDomain(HOST)]
    assert forge.asked == ["Alice/Blog"]
    await wished(pages(HOST), forge)
    assert forge.asked == ["Alice/Blog"]
    forge.root_host, forge.away = "", True
    wishes, _ = await wished(pages(HOST, "other.example", branches=("dev",)), forge)
    assert [(wish.host, "Forgejo gives no answer" in wish.refusal) for wish in wishes] == [
        (HOST, True),
        ("other.example", True),
        ("dev.blog.example", False),
    ]


# --- DNS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "wish"),
    [
        (Word(True, "TXT"), DesiredDomain(HOST, proven="TXT")),
        (Word(True), DesiredDomain(HOST, proven="DNS")),
        (Word(None), DesiredDomain(HOST, refusal="DNS gives no answer about its proof; it is asked again")),
        (Word(False, missing="a record is missing"), DesiredDomain(HOST, refusal="a record is missing")),
        (Word(False), DesiredDomain(HOST, refusal="its proof in DNS is missing")),
    ],
)
async def test_a_domain_that_must_be_proven_is_wished_as_dns_says(word: Word, wish: DesiredDomain) -> None:
    class Says(Dns):
        async def proof(self, domain: str, owner: str, repository: str, number: int, before: str = "") -> Word:
            assert (domain, owner, repository, number) == (HOST, "Alice", "Blog", 7)
            return word

    assert (await wished(pages(HOST), dns=Says(), must_prove=True))[0] == [wish]
    assert (await wished(pages(HOST), dns=Says()))[0] == [DesiredDomain(HOST)]


async def test_where_nobody_can_ask_dns_no_proof_is_had() -> None:
    (wish,), _ = await wished(pages(HOST), must_prove=True)
    assert wish.refusal == "nobody here can ask DNS for its proof"


@pytest.mark.parametrize(("proven", "number", "asked"), [("TXT", 7, 0), ("TXT", 0, 0), ("TXT", 8, 1), ("", 7, 1)])
async def test_what_was_proven_is_looked_at_again_by_others_and_not_here(proven: str, number: int, asked: int) -> None:
    record = SiteDomains("Alice", "Blog", number, (Claim(HOST, None, 0.0, proven),))
    dns = Dns(proofs={SITE: True})
    (wish,), _ = await wished(pages(HOST), dns=dns, record=record, must_prove=True)
    assert (dns.asked, wish.proven) == (asked, "TXT" if asked else "")


@pytest.mark.parametrize(
    ("ours", "theirs", "named", "beats"),
    [
        (True, False, (), True),
        (True, None, (), False),
        (True, True, (), False),
        (False, False, (), False),
        (None, False, (), False),
        (False, False, (Shown("ALICE", "blog"),), True),
        (False, False, (Shown("alice", "blog", "dev"),), True),
        (False, None, (Shown("alice", "blog"),), False),
        (False, False, (Shown("alice", "other"),), False),
        (True, False, (Shown("Bob", "Site"),), False),
        (True, False, (Shown("alice", "blog"), BOB), False),
    ],
)
async def test_a_host_is_taken_from_its_holder_only_if_dns_says_so_of_both(
    ours: bool | None, theirs: bool | None, named: tuple[Shown, ...], beats: bool
) -> None:
    dns = Dns(proofs={SITE: ours, (HOST, "bob/site"): theirs}, named={HOST: named})
    wishes = DesiredDomains(NAMES, ToldForge(), dns, must_prove=True)
    assert await wishes.beats(REPOSITORY, HOST, BOB, 8) is beats
    other = dataclasses.replace(REPOSITORY, name="Else")
    assert not await wishes.beats(other, HOST, BOB, 8)


async def test_nobody_beats_anybody_where_dns_is_not_asked() -> None:
    assert not await DesiredDomains(NAMES, ToldForge(), None, must_prove=False).beats(REPOSITORY, HOST, BOB, 8)
