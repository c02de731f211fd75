# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Proofs and names of sites, out of a real DNS server that tells the truth, lies, or says nothing."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import threading
from typing import Any

import dns.message
import pytest

from addon.domains import dns as dns_room
from addon.domains.dns import Dns, DnsSilence
from addon.domains.dns_proof import DnsProver, Verdict, keyed_proof
from addon.domains.dns_server import BoundedServer
from addon.net.fair_queue import on_account
from addon.settings.schema import Settings
from addon.shared.domain_mappings import Mapping
from tests.addon.domains.name_server import NameServer
from tests.waiting import until

PAGES_DOMAIN = "pages.test"
DOMAIN = "www.example.org"
PLAIN = "bovine-pages-verification=" + hashlib.sha256(b"Alice/Blog").hexdigest()
LOWER = "bovine-pages-verification=" + hashlib.sha256(b"alice/blog").hexdigest()
KEY = "a long key"
TIMEOUT = dns_room.TIMEOUT


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_room, "TIMEOUT", 1.5)


def prover(names: NameServer, **options: Any) -> DnsProver:
    mapping = {"pagesDomain": PAGES_DOMAIN, "forgejoHost": "http://127.0.0.1:1", "stateDir": "/nowhere", **options}
    return DnsProver(Settings.from_mapping(mapping, environ={}), Dns([names.address]))


async def proof(names: NameServer, repository_id: int = 7, **options: Any) -> Verdict:
    return await prover(names, **options).proof(DOMAIN, "Alice", "Blog", repository_id)


@pytest.mark.parametrize("place", [DOMAIN, f"_pages-verification.{DOMAIN}"])
@pytest.mark.parametrize("text", [PLAIN, LOWER, f" {PLAIN} ", PLAIN.replace("=", "= "), f"{PLAIN[:40]} {PLAIN[40:]}"])
async def test_the_plugins_record_proves_a_domain(place: str, text: str, names: NameServer) -> None:
    names.txt(place, "v=spf1 -all", text)
    verdict = await proof(names)
    assert verdict == Verdict(True, f"TXT at {place}")


@pytest.mark.parametrize(
    "texts",
    [
        (),
        ("",),
        (PLAIN.upper(),),
        (PLAIN + "0",),
        (PLAIN[:-1],),
        ("bovine-pages-verification=",),
        ("x" * 3000,),
        ("bovine-pages-verification=" + hashlib.sha256(b"bob/blog").hexdigest(),),
    ],
)
async def test_anything_else_does_not_and_the_owner_is_told_the_record(
    texts: tuple[str, ...], names: NameServer
) -> None:
    names.txt(DOMAIN, *texts)
    verdict = await proof(names)
    assert verdict.proven is False
    assert verdict.missing == f'DNS lacks this record: _pages-verification.{DOMAIN}. IN TXT "{PLAIN}"'


async def test_many_and_long_texts_are_read_over_tcp(names: NameServer) -> None:
    names.txt(DOMAIN, *(f"{number} " + "y" * 600 for number in range(10)), PLAIN)
    assert (await proof(names)).proven is True
    await until(lambda: names.hung_up)


@pytest.mark.parametrize("texts", [[f"{number} " + "y" * 600 for number in range(30)], [f"{n}" for n in range(400)]])
async def test_answers_that_are_longer_than_any_proof_needs_prove_nothing_and_are_not_read(
    texts: list[str], names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.txt(DOMAIN, *texts, PLAIN)
    read: list[int] = []
    original = dns.message.from_wire

    def from_wire(wire: bytes, *arguments: Any, **named: Any) -> dns.message.Message:
        if threading.current_thread() is threading.main_thread():  # the server is another
            read.append(len(wire))
        return original(wire, *arguments, **named)

    monkeypatch.setattr(dns.message, "from_wire", from_wire)
    verdict = await proof(names)
    assert verdict.proven is False
    assert max(read) <= 1232


@pytest.mark.parametrize("trouble", ["servfail", "refused", "silent", "garbage"])
@pytest.mark.parametrize("place", [DOMAIN, f"_pages-verification.{DOMAIN}", "*"])
async def test_dns_that_does_not_answer_proves_nothing_and_disproves_nothing(
    trouble: str, place: str, names: NameServer
) -> None:
    names.trouble[place] = trouble
    assert await proof(names) == Verdict(None)


async def test_a_proof_is_one_even_where_the_other_place_is_silent(names: NameServer) -> None:
    names.trouble[DOMAIN] = "servfail"
    names.txt(f"_pages-verification.{DOMAIN}", PLAIN)
    assert (await proof(names)).proven is True


async def test_what_stands_behind_an_alias_is_somebody_elses_word(names: NameServer) -> None:
    # S13 of the plugin: whoever has the name that a CNAME leads to could prove the domain to be his.
    names.cname(DOMAIN, "hosting.example.net")
    names.txt("hosting.example.net", PLAIN)
    assert (await proof(names)).proven is False


async def test_a_keyed_proof_is_for_one_repository_and_one_domain(names: NameServer) -> None:
    options: Any = {"requireKeyedProof": True, "domainProofKey": KEY}
    names.txt(DOMAIN, PLAIN, LOWER)
    assert (await proof(names, **options)).proven is False  # which anybody can make
    names.txt(f"_pages-verification.{DOMAIN}", f"pages-proof={keyed_proof(KEY, 7, DOMAIN)}")
    assert (await proof(names, **options)).proven is True
    assert (await proof(names, 8, **options)).proven is False  # made again under the same name
    assert (await proof(names, requireKeyedProof=True, domainProofKey="another")).proven is False
    other = await prover(names, **options).proof("example.net", "Alice", "Blog", 7)
    assert other.proven is False
    assert KEY not in other.missing
    names.txt(DOMAIN)
    assert (await proof(names, domainProofKey=KEY)).proven is True  # where it is not demanded, it counts as well


async def test_a_changed_key_is_no_lost_proof_and_no_new_one(names: NameServer) -> None:
    names.txt(DOMAIN, f"pages-proof={keyed_proof(KEY, 7, DOMAIN)}")
    first = await proof(names, requireKeyedProof=True, domainProofKey=KEY)
    changed = prover(names, requireKeyedProof=True, domainProofKey="another")
    assert (await changed.proof(DOMAIN, "Alice", "Blog", 7)).proven is False
    again = await changed.proof(DOMAIN, "Alice", "Blog", 7, first.how)
    assert again == first  # so it is remembered for the next time, too
    assert (await changed.proof("example.net", "Alice", "Blog", 7, first.how)).proven is False
    names.txt(DOMAIN, PLAIN)
    changed = prover(names, requireKeyedProof=True, domainProofKey="another")  # one that remembers no answer
    assert (await changed.proof(DOMAIN, "Alice", "Blog", 7, f"TXT at {DOMAIN}")).proven is False
    assert (await changed.proof(DOMAIN, "Alice", "Blog", 7, first.how)).proven is False  # the record has gone


async def test_without_a_key_no_keyed_proof_is_one(names: NameServer) -> None:
    names.txt(DOMAIN, "pages-proof=")
    assert (await proof(names, requireKeyedProof=True)).proven is False


@pytest.mark.parametrize(
    ("target", "sites"),
    [
        (f"alice.{PAGES_DOMAIN}", [Mapping("alice", ".profile")]),
        (f"blog.alice.{PAGES_DOMAIN}", [Mapping("alice", "blog")]),
        (PAGES_DOMAIN, []),
        (f"evil{PAGES_DOMAIN}", []),
        ("elsewhere.example", []),
    ],
)
async def test_an_alias_names_a_site_and_a_dotted_name_a_repository(
    target: str, sites: list[Mapping], names: NameServer
) -> None:
    names.cname(DOMAIN, target)
    assert list(await prover(names).named_sites(DOMAIN)) == sites
    names.cname("b.example.org", DOMAIN)
    assert list(await prover(names).named_sites("b.example.org")) == sites


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("alice/blog", Mapping("alice", "blog")),
        (" alice/blog@feature/x ", Mapping("alice", "blog", "feature/x")),
        ("alice", None),
        ("alice/blog@", None),
        ("../x/y", None),
        ("a b/c", None),
        ("alice/blog/x", None),
    ],
)
async def test_a_text_names_a_site(text: str, site: Mapping | None, names: NameServer) -> None:
    names.txt(f"_pages.{DOMAIN}", text)
    assert list(await prover(names).named_sites(DOMAIN)) == ([site] if site else [])


async def test_aliases_that_go_round_end(names: NameServer) -> None:
    names.cname(DOMAIN, "a.example")
    names.cname("a.example", DOMAIN)
    assert await prover(names).named_sites(DOMAIN) == ()


async def test_strangers_names_cost_few_questions_at_one_time_and_are_remembered(
    names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.trouble["*"] = "silent"
    resolver = Dns([names.address])
    told = await asyncio.gather(*(resolver.texts(f"n{n}.example") for n in range(500)), return_exceptions=True)
    assert all(isinstance(each, DnsSilence) for each in told)
    # At first four at a time are taken to last 0.1 s each, and in 5 s there would be 200; none was measured yet.
    assert len(set(names.asked)) <= 210
    with monkeypatch.context() as patched:
        patched.setattr(resolver, "_ask", lambda *key: pytest.fail("silence was not remembered"))
        with pytest.raises(DnsSilence):
            await resolver.texts("n0.example")
    names.trouble.clear()
    for _ in range(20):
        assert await resolver.texts("one.example") == ()
    assert names.asked.count(("one.example", "TXT")) == 1


async def test_an_answer_is_believed_for_longer_than_silence(names: NameServer) -> None:
    now = [0.0]
    resolver = Dns([names.address], clock=lambda: now[0])
    names.zone["one.example", "TXT"] = ['"x"']
    names.trouble["two.example"] = "servfail"

    async def asked_again_after(seconds: float) -> list[str]:
        now[0] += seconds
        names.asked.clear()
        assert await resolver.texts("one.example") == ("x",)
        with pytest.raises(DnsSilence):
            await resolver.texts("two.example")
        return sorted({name for name, _ in names.asked})

    assert await asked_again_after(0) == ["one.example", "two.example"]
    assert await asked_again_after(dns_room.SILENT_FOR - 1) == []
    assert await asked_again_after(2) == ["two.example"]
    assert await asked_again_after(dns_room.REMEMBERED_FOR) == ["one.example", "two.example"]


async def test_a_system_without_dns_is_silence(monkeypatch: pytest.MonkeyPatch, names: NameServer) -> None:
    with pytest.raises(DnsSilence):
        await Dns(["127.0.0.1:1"]).texts("one.example")


@pytest.mark.parametrize(
    ("zone", "options", "leads"),
    [
        ({(DOMAIN, "A"): ["192.0.2.1"]}, {}, True),
        ({(DOMAIN, "A"): ["192.0.2.1"], (DOMAIN, "AAAA"): ["2001:db8::1"]}, {}, True),
        ({(DOMAIN, "AAAA"): ["2001:DB8:0::1"]}, {}, True),
        ({(DOMAIN, "A"): ["198.51.100.1"]}, {}, False),
        ({(DOMAIN, "A"): ["192.0.2.1", "198.51.100.1"]}, {}, False),
        ({(DOMAIN, "A"): ["192.0.2.1"], (DOMAIN, "AAAA"): ["2001:db8::2"]}, {}, False),
        ({}, {}, False),
        ({(DOMAIN, "TXT"): ['"x"']}, {}, False),
        # An alias of the pages domain, directly or by another name, whatever its addresses are.
        ({(DOMAIN, "CNAME"): ["alice.pages.test."]}, {}, True),
        ({(DOMAIN, "CNAME"): ["pages.test."]}, {}, True),
        ({(DOMAIN, "CNAME"): ["x.example."], ("x.example", "CNAME"): ["blog.alice.pages.test."]}, {}, True),
        ({(DOMAIN, "CNAME"): ["evilpages.test."]}, {}, False),
        ({(DOMAIN, "CNAME"): ["x.example."], ("x.example", "A"): ["192.0.2.1"]}, {}, True),
        ({(DOMAIN, "CNAME"): ["x.example."], ("x.example", "A"): ["198.51.100.1"]}, {}, False),
        # What the settings say is asked of nobody.
        ({(DOMAIN, "A"): ["203.0.113.7"]}, {"publicAddresses": ["203.0.113.0/24", "2001:db8::/32"]}, True),
        ({(DOMAIN, "A"): ["192.0.2.1"]}, {"publicAddresses": ["203.0.113.7"]}, False),
    ],
)
async def test_a_host_is_ours_to_certify_if_dns_leads_it_here(
    zone: dict[tuple[str, str], list[str]], options: dict[str, Any], leads: bool, names: NameServer
) -> None:
    names.zone = {(PAGES_DOMAIN, "A"): ["192.0.2.1"], (PAGES_DOMAIN, "AAAA"): ["2001:db8::1"], **zone}
    assert await prover(names, **options).leads_here(DOMAIN) is leads


async def test_a_wildcard_alone_tells_our_addresses(names: NameServer) -> None:
    names.zone = {(f"*.{PAGES_DOMAIN}", "A"): ["192.0.2.1"], (DOMAIN, "A"): ["192.0.2.1"]}
    assert await prover(names).leads_here(DOMAIN) is True


@pytest.mark.parametrize("silent", [DOMAIN, PAGES_DOMAIN])
async def test_silence_leads_nowhere_and_elsewhere_no_host(silent: str, names: NameServer) -> None:
    names.zone = {(PAGES_DOMAIN, "A"): ["192.0.2.1"], (DOMAIN, "A"): ["192.0.2.1"]}
    names.trouble[silent] = "servfail"
    assert await prover(names).leads_here(DOMAIN) is None


async def test_without_addresses_of_ours_nothing_is_known(names: NameServer) -> None:
    names.zone = {(DOMAIN, "A"): ["192.0.2.1"]}
    assert await prover(names).leads_here(DOMAIN) is None


# --- how much is asked and read ---------------------------------------------------------------------------------------


def test_questions_have_five_seconds_and_answers_are_bounded() -> None:
    assert (TIMEOUT, dns_room.AT_ONCE, dns_room.MOST_REMEMBERED) == (5, 16, 10_000)
    assert (dns_room.SILENT_FOR, dns_room.REMEMBERED_FOR) == (3, 15)


async def test_a_chain_of_aliases_is_followed_eight_times(names: NameServer) -> None:
    for number in range(10):
        names.cname(f"n{number}.example", f"n{number + 1}.Example")
    chain = await Dns([names.address]).aliases("n0.example")
    assert chain == tuple(f"n{number}.example" for number in range(1, 9))
    assert await Dns([names.address]).alias("n10.example") is None


async def test_a_chain_that_goes_round_elsewhere_ends_where_it_began_to(names: NameServer) -> None:
    for name, target in (("a", "b"), ("b", "c"), ("c", "b")):
        names.cname(f"{name}.example", f"{target}.example")
    assert await Dns([names.address]).aliases("a.example") == ("b.example", "c.example")
    names.cname("self.example", "self.example")
    assert await Dns([names.address]).aliases("self.example") == ()


async def test_of_addresses_and_texts_no_more_are_read_than_anybody_needs(names: NameServer) -> None:
    names.zone["many.example", "A"] = [f"192.0.2.{number}" for number in range(40)]
    names.zone["many.example", "AAAA"] = ["2001:db8::1"]
    found = await Dns([names.address]).addresses("many.example")
    assert (len(found), found[-1]) == (33, "2001:db8::1")
    names.txt("many.example", *(f"{number:03}" for number in range(101)))
    assert len(await Dns([names.address]).texts("many.example")) == 100
    names.txt("long.example", "x" * 1025)
    assert await Dns([names.address]).texts("long.example") == ("x" * 1024,)
    names.zone["parts.example", "TXT"] = ['"a b" "c\\195\\164" "\\255"']
    assert await Dns([names.address]).texts("parts.example") == ("a bcä\ufffd",)


async def test_an_answer_of_a_hundred_and_twenty_records_is_read_and_none_of_more(names: NameServer) -> None:
    for number, read in ((119, 100), (120, 0)):  # and one that says how large an answer may be
        names.txt("many.example", *(f"{each:03}" for each in range(number)))
        assert len(await Dns([names.address]).texts("many.example")) == read


async def test_an_answer_of_eight_kibibytes_is_read_and_none_of_more(names: NameServer) -> None:
    question = dns.message.make_query("long.example", "TXT", use_edns=0).to_wire()

    def size(last: int) -> int:
        names.txt("long.example", *(f"{number}" + "x" * 999 for number in range(7)), "y" * last)
        answer = names.answer(question, udp=False)
        assert answer is not None
        return len(answer)

    last = 1010 + 8192 - size(1010)
    assert 1001 <= last < 1200  # in as many parts
    for length, read in ((last, 8), (last + 1, 0)):
        assert size(length) == 8192 + length - last
        assert len(await Dns([names.address]).texts("long.example")) == read


async def test_names_are_asked_about_once_in_whatever_case(names: NameServer) -> None:
    resolver = Dns([names.address])
    names.txt("one.example", "x")
    found = await asyncio.gather(*(resolver.texts(name) for name in ("one.example", "ONE.example", "one.example.")))
    assert found == [("x",)] * 3
    assert names.asked == [("one.example", "TXT")]
    assert await resolver.texts("One.Example") == ("x",)
    assert len(names.asked) == 1
    await resolver.addresses("one.example")  # another question
    assert len(names.asked) == 3


async def test_answers_that_were_given_longest_ago_are_forgotten_first(
    names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns_room, "MOST_REMEMBERED", 2)
    now = [0.0]
    resolver = Dns([names.address], clock=lambda: now[0])
    for name in ("one.example", "two.example"):
        await resolver.texts(name)
    now[0] = 15.0  # over: asked again, and the last then
    await resolver.texts("one.example")
    await resolver.texts("three.example")
    names.asked.clear()
    for name in ("one.example", "three.example"):
        await resolver.texts(name)
    assert names.asked == []
    await resolver.texts("two.example")
    assert names.asked == [("two.example", "TXT")]


@pytest.mark.parametrize(("trouble", "seconds"), [("servfail", 3), ("", 15)])
async def test_an_answer_is_believed_until_its_time_is_over(names: NameServer, trouble: str, seconds: int) -> None:
    now = [0.0]
    resolver = Dns([names.address], clock=lambda: now[0])
    names.trouble["one.example"] = trouble

    async def asked(at: float) -> int:
        now[0] = at
        names.asked.clear()
        await asyncio.gather(resolver.texts("one.example"), return_exceptions=True)
        return len(names.asked)

    assert await asked(0)
    assert not await asked(seconds - 0.1)
    assert await asked(seconds)


@pytest.mark.parametrize("name", ["a..example", "x" * 64 + ".example", "\\1.example", "\udcff.example"])
async def test_what_is_no_name_is_silence(name: str, names: NameServer) -> None:
    with pytest.raises(DnsSilence):
        await Dns([names.address]).texts(name)
    assert names.asked == []


async def test_one_party_asks_four_questions_at_a_time_and_others_beside_it(names: NameServer) -> None:
    names.trouble["*"] = "silent"
    resolver = Dns([names.address])

    async def asked(number: int, owner: str, visitor: str) -> None:
        with on_account(owner=owner, visitor=visitor):
            await resolver.texts(f"{owner}{visitor}{number}.example")

    parties = [("alice", "one"), ("alice", "two"), ("", "one"), ("", "two")]
    asking = [asyncio.ensure_future(asked(number, *party)) for party in parties for number in range(6)]
    await until(lambda: len(set(names.asked)) == 12, "four of each party")
    assert [(name, turns.busy) for name, turns in resolver.queues.items()] == [("dns", 12)]
    await resolver.aclose()
    await asyncio.gather(*asking, return_exceptions=True)


async def test_where_dnspython_is_missing_dns_is_silent_and_it_is_said_once(
    names: NameServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dns_room, "INSTALLED", False)
    resolver = Dns([names.address])
    for _ in range(2):
        with pytest.raises(DnsSilence, match="pip install dnspython"):
            await resolver.texts("one.example")
    assert names.asked == []
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 53),
        ("192.0.2.1:5353", "192.0.2.1", 5353),
        ("2001:db8::1", "2001:db8::1", 53),
        ("::1", "::1", 53),
        ("[2001:db8::1]", "2001:db8::1", 53),
        ("[2001:db8::1]:5353", "2001:db8::1", 5353),
    ],
)
def test_a_server_is_an_address_and_perhaps_a_port(text: str, host: str, port: int) -> None:
    server = dns_room._server(text)
    assert isinstance(server, BoundedServer)
    assert (server.address, server.port) == (host, port)


async def test_the_servers_of_the_system_are_asked_where_the_settings_name_none() -> None:
    servers = Dns()._ready().nameservers
    assert servers
    assert all(isinstance(server, BoundedServer) for server in servers)
    asked = Dns(["192.0.2.1"])._ready()
    assert [str(server) for server in asked.nameservers] == ["Do53:192.0.2.1@53"]
    assert asked.timeout == dns_room.TIMEOUT / 2  # so that a second server has its turn
    assert asked.cache is None


async def test_nothing_is_asked_any_more_when_it_has_ended(names: NameServer) -> None:
    names.trouble["*"] = "silent"
    resolver = Dns([names.address])
    asking = [asyncio.ensure_future(resolver.texts(f"n{number}.example")) for number in range(3)]
    await until(lambda: names.asked, "a question")
    tasks = list(resolver._asking.values())
    await resolver.aclose()
    assert all(task.done() for task in tasks)
    told = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(each) for each in told} == {asyncio.CancelledError}
    assert resolver._asking == {}
    assert resolver._known == {}


# --- what proves and what names, one by one ---------------------------------------------------------------------------


async def test_the_owner_is_told_both_places_and_the_one_beside_an_alias_first(names: NameServer) -> None:
    assert prover(names).records_for(DOMAIN, "Alice", "Blog", 7) == (
        f'_pages-verification.{DOMAIN}. IN TXT "{PLAIN}"',
        f'{DOMAIN}. IN TXT "{PLAIN}"',
    )
    keyed = prover(names, requireKeyedProof=True, domainProofKey=KEY)
    (first, _) = keyed.records_for(DOMAIN, "Alice", "Blog", 7)
    assert first.endswith(f'"pages-proof={keyed_proof(KEY, 7, DOMAIN)}"')


def test_a_keyed_proof_is_the_same_after_an_upgrade() -> None:
    assert keyed_proof("k", 7, "WWW.example.org") == hmac.new(b"k", b"7:www.example.org", "sha256").hexdigest()


async def test_a_proof_says_by_which_value_it_was_keyed(names: NameServer) -> None:
    value = f"pages-proof={keyed_proof(KEY, 7, DOMAIN)}"
    names.txt(DOMAIN, value)
    assert await proof(names, domainProofKey=KEY) == Verdict(True, f"TXT at {DOMAIN}, {value}")
    names.txt(DOMAIN, value, PLAIN)
    assert (await proof(names, domainProofKey=KEY)).how in (f"TXT at {DOMAIN}, {value}", f"TXT at {DOMAIN}")


async def test_a_host_names_sites_by_its_text_and_by_its_alias(names: NameServer) -> None:
    names.cname(DOMAIN, f"blog.alice.{PAGES_DOMAIN}")
    names.txt(f"_pages.{DOMAIN}", "nonsense", "alice/blog", "carol/site")
    assert set(await prover(names).named_sites(DOMAIN)) == {Mapping("alice", "blog"), Mapping("carol", "site")}
    names.txt(f"_pages.{DOMAIN}", "bob/site")
    assert await prover(names).named_sites(DOMAIN) == (Mapping("bob", "site"), Mapping("alice", "blog"))
    names.trouble[f"_pages.{DOMAIN}"] = "servfail"
    assert await prover(names).named_sites(DOMAIN) == (Mapping("alice", "blog"),)
    names.trouble = {DOMAIN: "servfail"}
    assert await prover(names).named_sites(DOMAIN) == (Mapping("bob", "site"),)


@pytest.mark.parametrize("label", ["_x", "a_b.alice", "blog._x", "-x", "blog.-x"])
async def test_an_alias_that_no_site_can_have_names_none(label: str, names: NameServer) -> None:
    names.cname(DOMAIN, f"{label}.{PAGES_DOMAIN}")
    assert await prover(names).named_sites(DOMAIN) in ((), (Mapping("alice", "a_b"),))


async def test_our_addresses_are_those_of_a_name_below_the_pages_domain_only_where_it_has_none(
    names: NameServer,
) -> None:
    names.zone = {
        (PAGES_DOMAIN, "A"): ["192.0.2.1"],
        (f"pages.{PAGES_DOMAIN}", "A"): ["192.0.2.2"],
        (DOMAIN, "A"): ["192.0.2.2"],
    }
    assert await prover(names).leads_here(DOMAIN) is False
    del names.zone[PAGES_DOMAIN, "A"]
    assert await prover(names).leads_here(DOMAIN) is True
