# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Sites for members through the whole server: who may read the repository sees the site, and nobody else anything."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from addon.serving.member_login import MOST_BEGUN_EACH, _parts
from addon.serving.members import token_of
from addon.web.prepared_answers import Basis, PreparedAnswers
from tests.addon.preview.sites import Site
from tests.addon.serving.pages import Serving, serving
from tests.addon.serving.reading import CALLBACK, HANDBOOK, OPTIONS, PAGE, TOKEN, Browser, team_forge

SITE = "https://alice.pages.test/handbook/"
ME = r"^/api/v1/repos/alice/handbook$"
"""The call that asks for a right."""


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Serving]:
    forge = team_forge(tmp_path)
    try:
        async with serving(forge, token=TOKEN, **OPTIONS) as served:
            yield served
    finally:
        forge.stop()


def asked(served: Serving) -> int:
    """How often Forgejo was asked for a reader's right."""
    return sum(call.headers.get("authorization", "").startswith("Bearer ") for call in served.forge.calls)


async def test_a_member_logs_in_once_and_reads_all_of_the_site(served: Serving) -> None:
    bob = Browser(served)
    reply = await bob.open(f"{SITE}?page=2")
    assert (reply.status, reply.body) == (200, PAGE)
    assert bob.hops[-1] == f"{SITE}?page=2"
    hosts = [urlsplit(hop).netloc for hop in bob.hops]
    forge = urlsplit(served.forge.url).netloc
    site, pages = "alice.pages.test", "pages.test"
    assert hosts == [site, pages, forge, pages, site, site]
    for _ in range(3):
        assert (await bob.one(f"{SITE}docs/a.txt")).status == 200
    assert (await bob.one(f"{SITE}style.css")).recalled is False  # its bytes had to be fetched
    assert (await bob.one(f"{SITE}style.css")).recalled is True
    assert asked(served) == 1
    assert served.forge.count("/login/oauth/access_token") == served.forge.count("/login/oauth/introspect") == 1


FORMS = [
    ("GET", "", {}),
    ("HEAD", "", {}),
    ("GET", "docs/a.txt", {"range": "bytes=0-3"}),
    ("GET", "docs/a.txt", {"if_none_match": "*"}),
    ("GET", "docs", {}),
    ("GET", "no/such", {}),
    ("GET", "style.css", {"accept_encoding": "br"}),
    ("OPTIONS", "", {}),
]


async def test_every_form_of_an_answer_is_for_this_reader_alone(served: Serving) -> None:
    bob = Browser(served)
    await bob.open(SITE)
    for method, path, headers in FORMS:
        reply = await bob.one(SITE + path, method, **headers)
        assert reply.headers["cache-control"].startswith(("private", "no-store")), (method, path, headers)
        assert reply.headers.get("access-control-allow-origin") is None
        assert "Cookie" in reply.headers["vary"]
    for method, path, headers in FORMS:  # and without a login, nothing of the site is in any
        stranger = await served.get("alice", f"/handbook/{path}", method, **headers)
        assert stranger.status == 401, (method, path)
        assert stranger.headers["cache-control"] == "no-store"
        assert not any(word in stranger.body for word in (b"0123456789", b"teal", b"How we work", b"in the handbook"))


async def test_who_may_not_read_the_repository_sees_what_is_seen_where_no_site_is(served: Serving) -> None:
    dave = Browser(served, "dave")
    reply = await dave.open(f"{SITE}docs/a.txt")
    missing = await dave.one("https://alice.pages.test/nothing/docs/a.txt")
    assert reply.status == missing.status == 404
    assert reply.body == missing.body.replace(b"/nothing/", b"/handbook/")


async def test_on_a_public_repository_members_are_all_who_log_in_and_without_it_publish_private_is_for_all(
    tmp_path: Path,
) -> None:
    club = {".pages": b"access: members\n", "public/index.html": b"club"}
    shared = {".pages": b"publish_private: true\n", "public/index.html": b"for all"}
    forge = team_forge(tmp_path, club=club, shared=shared)
    forge.settings("alice/shared").private = True
    try:
        async with serving(forge, token=TOKEN, **OPTIONS) as served:
            url = "https://alice.pages.test/club/"
            dave = Browser(served, "dave")
            assert (await Browser(served, keeps_cookies=False).one(url)).status == 303
            assert (await served.get("alice", "/club/")).status == 401
            reply = await dave.open(url)
            assert (reply.status, reply.body) == (200, b"club")
            assert reply.headers["cache-control"].startswith("private")
            anybody = await served.get("alice", "/shared/")
            assert (anybody.status, anybody.body) == (200, b"for all")
            assert not anybody.headers["cache-control"].startswith("private")
    finally:
        forge.stop()


async def test_who_has_left_the_team_is_out_within_a_minute(served: Serving) -> None:
    bob = Browser(served)
    await bob.open(SITE)
    served.forge.settings("alice/handbook").readers = frozenset()
    served.clock.pass_(59)
    assert (await bob.one(SITE)).status == 200
    assert asked(served) == 1
    served.clock.pass_(1)
    assert (await bob.one(SITE)).status == 404
    assert (await bob.one(SITE)).status == 404
    assert asked(served) == 2


async def test_a_team_without_the_code_and_a_prohibited_user_see_nothing(served: Serving) -> None:
    settings = served.forge.settings("alice/handbook")
    settings.no_code, settings.readers = frozenset({"bob"}), frozenset()
    bob = Browser(served)
    assert (await bob.open(SITE)).status == 404
    settings.no_code, settings.readers = frozenset(), frozenset({"bob"})
    served.clock.pass_(60)
    assert (await bob.one(SITE)).status == 200
    served.forge.owner_settings("bob").prohibited = True
    served.clock.pass_(60)
    assert (await bob.one(SITE)).status == 404


async def test_a_reader_who_is_renamed_is_the_same_reader_and_out_as_soon_as_others(served: Serving) -> None:
    bob = Browser(served)
    await bob.open(SITE)
    served.forge.registry.rename("bob", "robert")
    served.clock.pass_(60)
    assert (await bob.one(SITE)).status == 200  # by the number, which the name is not
    assert served.forge.settings("alice/handbook").readers == {"robert"}
    served.forge.settings("alice/handbook").readers = frozenset({"bob"})  # who has the name now is somebody else
    served.clock.pass_(60)
    assert (await bob.one(SITE)).status == 404


async def test_while_forgejo_does_not_say_a_yes_holds_for_a_minute_and_then_the_site_is_closed(served: Serving) -> None:
    bob = Browser(served)
    await bob.open(SITE)
    for trouble in ({"status": 500}, {"drop": True}, {"status": 403, "body": b"<h1>bots?</h1>", "headers": HTML}):
        with served.forge.fault(ME, **trouble):
            served.clock.pass_(59)
            assert (await bob.one(SITE)).status == 200
            served.clock.pass_(1)
            reply = await bob.one(SITE)
            assert (reply.status, reply.headers["retry-after"]) == (503, "5"), trouble
            assert b"Forgejo does not say" in reply.body
        served.clock.pass_(5)
        assert (await bob.one(SITE)).status == 200


HTML = (("Content-Type", "text/html; charset=utf-8"),)


async def test_many_requests_at_once_ask_once(served: Serving) -> None:
    import asyncio

    bob = Browser(served)
    await bob.open(SITE)
    served.clock.pass_(60)
    replies = await asyncio.gather(*(bob.one(f"{SITE}docs/a.txt") for _ in range(20)))
    assert {reply.status for reply in replies} == {200}
    assert asked(served) == 2


async def test_a_revoked_grant_ends_the_login_and_begins_another(served: Serving) -> None:
    bob = Browser(served)
    await bob.open(SITE)
    served.forge.login.revoke("bob", OPTIONS["oauthClientId"])
    served.clock.pass_(60)
    served.today.pass_(60)
    reply = await bob.one(SITE)
    assert reply.status == 303
    assert (await bob.open(SITE)).status == 200  # he consents again
    assert asked(served) == 3


async def test_a_login_that_is_of_no_use_ends_on_a_page_with_a_link(served: Serving) -> None:
    bob = Browser(served)
    await served.get("alice", "/handbook/")  # the site is known
    refused = b'{"message":"token is malformed"}'
    with served.forge.fault(
        ME, status=401, body=refused, headers=(("Content-Type", "application/json"),), times=50
    ) as fault:
        reply = await bob.open(SITE)
        assert (reply.status, len(bob.hops)) == (401, 6)
        assert b"You have just logged in" in reply.body
        assert b'href="/.pages/login?to=/handbook/"' in reply.body
        assert (await bob.one(SITE)).status == 401
        assert fault.used == 1
    assert (await bob.open("https://alice.pages.test/.pages/login?to=/handbook/")).status == 200


@pytest.mark.parametrize("keeps", [True, False])
async def test_no_browser_goes_round_for_ever(served: Serving, keeps: bool) -> None:
    """One that keeps no cookies, and one that loses each session."""
    bob = Browser(served, keeps_cookies=keeps)
    ended = 0
    for _ in range(8):
        reply = await bob.open(SITE)
        assert len(bob.hops) <= 7
        ended += reply.status in (401, 403)
        bob.cookies.get("alice.pages.test", {}).pop("__Host-pages_member", None)
    assert ended == (8 if not keeps else 7)
    assert served.forge.count("/login/oauth/access_token") == (1 if keeps else 0)


async def test_only_a_browser_that_goes_somewhere_is_sent_away(served: Serving) -> None:
    cases = [
        ({"sec_fetch_mode": "navigate", "sec_fetch_dest": "document", "sec_fetch_site": "none"}, 303),
        ({"sec_fetch_mode": "navigate", "sec_fetch_dest": "document", "sec_fetch_site": "cross-site"}, 303),
        ({"sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe", "sec_fetch_site": "same-site"}, 401),
        ({"sec_fetch_mode": "no-cors", "sec_fetch_dest": "image", "sec_fetch_site": "same-origin"}, 401),
        ({"sec_fetch_mode": "cors", "sec_fetch_dest": "empty", "sec_fetch_site": "same-origin"}, 401),
        ({"accept": "*/*"}, 401),
    ]
    for headers, status in cases:
        assert (await served.get("alice", "/handbook/", **headers)).status == status, headers
    tool = await served.get("alice", "/handbook/", accept="*/*")
    assert tool.headers["www-authenticate"].startswith("Basic ")


async def test_a_login_does_not_count_where_another_sites_page_fetches(served: Serving) -> None:
    bob = Browser(served)
    await bob.open(SITE)
    embedded = {"sec_fetch_mode": "no-cors", "sec_fetch_dest": "script", "sec_fetch_site": "same-site"}
    reply = await bob.one(f"{SITE}docs/a.txt", **embedded)
    assert reply.status == 401
    assert (await bob.one(f"{SITE}docs/a.txt", **(embedded | {"sec_fetch_site": "same-origin"}))).status == 200


async def test_by_plain_http_there_is_no_login(served: Serving) -> None:
    from dataclasses import replace

    from addon.web.forwarding import Visitor

    for host, path in (("alice", "/handbook/"), ("alice", "/.pages/login?ticket=x"), ("pages.test", "/.pages/login")):
        request = served.request(host, path, accept="text/html")
        request = replace(request, visitor=lambda: Visitor("192.0.2.7", secure=False))
        reply = await served.read(await served.server.answer(request))
        assert (reply.status, b"Only by HTTPS" in reply.body) == (403, True), path
        assert "set-cookie" not in reply.headers


# ---- what somebody may try with a login under way ------------------------------------------------------------------


async def _to_callback(browser: Browser, url: str = SITE) -> str:
    """A login up to the address that Forgejo sends the browser back to."""
    while "/callback" not in urlsplit(url).path:
        reply = await browser.one(url)
        url = reply.headers["location"]
    return url


async def _to_ticket(browser: Browser) -> str:
    return (await browser.one(await _to_callback(browser))).headers["location"]


async def test_a_state_is_good_once_in_its_browser_and_for_ten_minutes(served: Serving) -> None:
    bob, eve = Browser(served), Browser(served, "dave")
    back = await _to_callback(bob)
    assert (await eve.one(back)).status == 403  # no browser of ours at all
    other = await _to_callback(eve)
    assert (await eve.one(back)).status == 403  # a browser with a login of its own under way
    query = parse_qs(urlsplit(back).query)
    forged = back.replace(query["state"][0], "A" * 22)
    assert (await bob.one(forged)).status == 403
    assert (await bob.one(back)).status == 303
    assert (await bob.one(back)).status == 403  # a second time
    served.clock.pass_(601)
    assert (await eve.one(other)).status == 403
    assert served.forge.count("/login/oauth/access_token") == 1


async def test_the_way_to_forgejo_says_all_that_binds_the_login_out_loud(served: Serving) -> None:
    bob = Browser(served)
    states = set()
    for _ in range(2):
        there = (await bob.one((await bob.one(SITE)).headers["location"])).headers["location"]
        assert len(there) < 600  # of a long one browsers drop the cookie that Forgejo keeps it in
        query = {name: values[0] for name, values in parse_qs(urlsplit(there).query).items()}
        assert there.startswith(f"{served.forge.url}/login/oauth/authorize?")
        states.add(query.pop("state"))
        assert len(base64.urlsafe_b64decode(query.pop("code_challenge") + "=")) == 32
        assert query == {
            "client_id": OPTIONS["oauthClientId"],
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": "read:repository",
            "code_challenge_method": "S256",
        }
    assert {len(base64.urlsafe_b64decode(state + "==")) for state in states} == {16}  # 128 bits
    assert len(states) == 2


async def test_a_state_of_one_site_and_a_code_of_another_are_no_login(served: Serving) -> None:
    """In one browser, that is logging in at both."""
    Site(served.forge.registry.root / "bob" / "notes.git", HANDBOOK)  # type: ignore[operator]  # it has a folder
    bob = Browser(served)
    backs = [await _to_callback(bob, site) for site in (SITE, "https://bob.pages.test/notes/")]
    first, second = (parse_qs(urlsplit(back).query)["code"][0] for back in backs)
    assert (await bob.one(backs[0].replace(first, second))).status == 403
    ticket = (await bob.one(backs[1])).headers["location"]
    assert ticket.startswith("https://bob.pages.test/.pages/login?ticket=")
    assert (await bob.one(ticket)).headers["location"] == "/notes/"
    assert "__Host-pages_member" not in bob.cookies["alice.pages.test"]


async def test_however_many_logins_one_client_network_begins_few_are_kept(served: Serving) -> None:
    bob, flood = Browser(served, address="198.51.100.1"), Browser(served)
    mine = await _to_callback(bob)
    login = served.server._hosts._login
    assert login is not None
    begin = (await flood.one(SITE)).headers["location"]
    for _ in range(3 * MOST_BEGUN_EACH):
        assert (await flood.one(begin)).status == 303
    assert len(login._begun) == MOST_BEGUN_EACH + 1
    assert (await bob.one(mine)).status == 303  # nobody else's gave way


async def test_a_code_of_somebody_elses_login_is_of_no_use(served: Serving) -> None:
    """Stolen, or slipped in: the verifier is another one's (RFC 7636)."""
    bob, eve = Browser(served), Browser(served, "dave")
    mine, stolen = await _to_callback(eve), await _to_callback(bob)
    code = parse_qs(urlsplit(stolen).query)["code"][0]
    own = parse_qs(urlsplit(mine).query)["code"][0]
    reply = await eve.one(mine.replace(own, code))
    assert reply.status == 403
    assert b"does not take this login" in reply.body
    assert b"https://alice.pages.test/.pages/login?to=/handbook/" in reply.body


async def test_a_ticket_is_good_once_for_its_host_and_browser_and_a_minute(served: Serving) -> None:
    bob, eve = Browser(served), Browser(served, "dave")
    ticket = await _to_ticket(bob)
    await eve.one(SITE)  # has begun a login, too
    assert (await eve.one(ticket)).status == 403
    assert (await bob.one(ticket.replace("//alice.", "//bob."))).status == 403
    assert "__Host-pages_member" not in eve.cookies["alice.pages.test"]
    assert (await bob.one(ticket)).status == 303
    assert (await bob.one(ticket)).status == 403
    late = Browser(served)
    ticket = await _to_ticket(late)
    served.clock.pass_(61)
    assert (await late.one(ticket)).status == 403


async def test_the_cookie_of_one_host_is_nothing_at_another(served: Serving) -> None:
    bob = Browser(served)
    await bob.open(SITE)
    cookie = bob.cookies["alice.pages.test"]["__Host-pages_member"]
    for host in ("bob.pages.test", "pages.test", "handbook.example"):
        assert served.server._hosts._login is not None
        fields = {b"cookie": b"__Host-pages_member=" + cookie.encode()}
        assert served.server._hosts._login.session_id(host, fields.get) is None
    for broken in (cookie[:-1] + ("A" if cookie[-1] != "A" else "B"), cookie.partition(".")[0], "x", ""):
        bob.cookies["alice.pages.test"] = {"__Host-pages_member": broken}
        assert (await bob.one(SITE)).status == 303


async def test_nothing_leads_to_a_host_that_is_not_ours(served: Serving) -> None:
    """The way out of the pages domain is sealed: no open redirect, and none that somebody can make."""
    bob = Browser(served)
    begin = (await bob.one(SITE)).headers["location"]
    for target in (
        begin[:-4] + "AAAA",
        "https://pages.test/.pages/login?begin=https://evil.example/",
        begin + "&begin=x",
    ):
        reply = await bob.one(target)
        assert (reply.status in (400, 403), "location" in reply.headers) == (True, False), target
    for to in ("//evil.example", "https://evil.example/", "\\\\evil.example", "/\\evil.example", "/..//evil.example"):
        reply = await bob.one(f"https://alice.pages.test/.pages/login?to={to}")
        location = reply.headers["location"]
        assert location.startswith("/")
        assert not location.startswith(("//", "/\\")), location
    served.today.pass_(700)
    assert (await bob.one(begin)).status == 403  # a link that is old


async def test_a_denial_and_other_errors_of_forgejo_end_on_a_page(served: Serving) -> None:
    bob = Browser(served, consents=False)
    reply = await bob.open(SITE)
    assert (reply.status, b"you have not allowed this server" in reply.body) == (403, True)
    bob = Browser(served)
    back = await _to_callback(bob)
    assert (await bob.one(f"{back}&iss=https%3A%2F%2Fevil.example")).status == 403


async def test_a_grant_of_another_scope_is_refused_with_what_to_do(served: Serving) -> None:
    """Somebody allowed the application everything before: such a token is not even kept."""
    from addon.preview.oauth import _Grant

    for scope in ("", "openid profile", "read:repository write:repository", "public-only read:repository", "read:user"):
        served.forge.login.grants[3, OPTIONS["oauthClientId"]] = _Grant(1, 3, OPTIONS["oauthClientId"], scope)
        reply = await Browser(served).open(SITE)
        assert (reply.status, b"revoke the access" in reply.body) == (403, True), scope
    assert asked(served) == 0


STEPS = [
    ("/.well-known/openid-configuration", 502),
    ("/login/oauth/access_token", 502),
    ("/login/oauth/introspect", 502),
    (ME, 503),
]


@pytest.mark.parametrize(("step", "status"), STEPS)
async def test_forgejo_away_in_any_step_closes_and_says_so(served: Serving, step: str, status: int) -> None:
    bob = Browser(served)
    await bob.open("https://alice.pages.test/open/")
    await served.get("alice", "/handbook/")  # the site is known
    for trouble in ({"drop": True}, {"status": 500}, {"status": 200, "body": b"<h1>hello</h1>", "headers": HTML}):
        with served.forge.fault(step, **trouble):
            reply = await bob.open(SITE)
            assert reply.status == status, (trouble, reply.text[-900:])
            assert PAGE not in reply.body
        bob = Browser(served)
        served.clock.pass_(30)
    assert (await bob.open(SITE)).status == 200


async def test_answers_of_forgejo_about_a_token_are_checked(served: Serving) -> None:
    lies = [
        {"aud": ["another"]},
        {"iss": "https://evil.example"},
        {"active": False},
        {"sub": 3},
        {"sub": "../1"},
        {"scope": None},
    ]
    for lie in lies:
        with served.forge.fault("/login/oauth/introspect", document=lambda told, lie=lie: told | lie):
            assert (await Browser(served).open(SITE)).status in (403, 502), lie
    with served.forge.fault("/login/oauth/access_token", document=lambda told: told | {"token_type": "mac"}):
        assert (await Browser(served).open(SITE)).status == 502
    evil = "https://evil.example/login/oauth/authorize"
    served.clock.pass_(601)
    with served.forge.fault("openid-configuration", document=lambda told: told | {"authorization_endpoint": evil}):
        assert (await Browser(served).open(SITE)).status == 502


# ---- two tabs, two browsers, the way out ----------------------------------------------------------------------------


async def test_two_tabs_that_begin_at_once_both_come_home(served: Serving) -> None:
    bob = Browser(served)
    first, second = await _to_callback(bob), await _to_callback(bob)
    for back in (first, second):
        ticket = (await bob.one(back)).headers["location"]
        assert (await bob.one(ticket)).headers["location"] == "/handbook/"
        assert (await bob.one(SITE)).status == 200


async def test_two_browsers_of_one_reader_are_two_logins(served: Serving) -> None:
    """Forgejo has one grant for both, and the second login ends the refresh token of the first: nobody needs that."""
    desk, phone = Browser(served), Browser(served)
    for browser in (desk, phone):
        assert (await browser.open(SITE)).status == 200
    assert desk.cookies["alice.pages.test"] != phone.cookies["alice.pages.test"]
    served.clock.pass_(60)
    for browser in (desk, phone):
        assert (await browser.one(SITE)).status == 200
    assert asked(served) == 2  # one reader is asked about once, whichever browser it was
    assert served.forge.count("/login/oauth/access_token") == 2  # nothing was refreshed


async def test_logging_out_of_one_site_or_of_all(tmp_path: Path) -> None:
    forge = team_forge(tmp_path)
    try:
        async with serving(forge, token=TOKEN, **OPTIONS) as served:
            desk, phone = Browser(served), Browser(served)
            await desk.open(SITE)
            await phone.open(SITE)
            out = "https://alice.pages.test/.pages/logout"
            page = await desk.one(out)
            assert (page.status, b"Log out of all sites" in page.body) == (200, True)
            kept = dict(desk.cookies["alice.pages.test"])
            assert (await desk.one(out, "POST", b"", sec_fetch_site="same-site")).status == 403
            assert (await desk.one(SITE)).status == 200
            assert (await desk.one(out, "POST", b"")).status == 200
            assert "__Host-pages_member" not in desk.cookies["alice.pages.test"]
            desk.cookies["alice.pages.test"] = kept  # somebody had copied it
            assert (await desk.one(SITE)).status in (303, 401)
            assert (await phone.one(SITE)).status == 200
            served.today.pass_(61)
            desk.cookies["alice.pages.test"] = {}
            assert (await desk.open(SITE)).status == 200
            served.today.pass_(1)
            assert (await phone.one(out, "POST", b"all=1")).status == 200
            assert (await desk.one(SITE)).status in (303, 401)
            served.today.pass_(61)
            assert (await desk.open(SITE)).status == 200  # and may log in again
    finally:
        forge.stop()


async def test_a_login_ends_with_its_token(served: Serving) -> None:
    bob = Browser(served)
    await bob.open(SITE)
    served.today.pass_(3599)
    assert (await bob.one(SITE)).status == 200
    served.today.pass_(1)
    assert (await bob.one(SITE)).status == 303


async def test_an_answer_that_is_ready_for_a_member_dies_with_right_and_login(served: Serving) -> None:
    bob = Browser(served)
    await bob.open(SITE)
    ready = PreparedAnswers(served.library.memory, 1 << 20)

    async def basis() -> Basis:
        fields = {b"cookie": "; ".join(f"{k}={v}" for k, v in bob.cookies["alice.pages.test"].items()).encode()}
        request = served.request("alice", "/handbook/")
        from dataclasses import replace

        answer = served.server.answer_from_memory(replace(request, header=fields.get))
        assert answer is not None
        assert answer.locked
        assert answer.basis is not None
        return answer.basis

    kept = await basis()
    assert ready.holds(kept, served.clock())
    served.clock.pass_(60)
    assert not ready.holds(kept, served.clock())
    await bob.one(SITE)
    kept = await basis()
    assert ready.holds(kept, served.clock())
    await bob.one("https://alice.pages.test/.pages/logout", "POST", b"")
    assert not ready.holds(kept, served.clock())
    stranger = served.server.answer_from_memory(served.request("alice", "/handbook/"))
    assert stranger is None or (stranger.status == 401 and stranger.basis is None)


# ---- programs -------------------------------------------------------------------------------------------------------


async def test_a_program_comes_in_by_a_token_of_its_own(served: Serving) -> None:
    from addon.preview.settings import Token

    forms = ["Bearer {}", "bearer {}", "token {}", "Basic {basic}"]
    served.forge.tokens.update(
        {"b0" * 20: Token("bob"), "d0" * 20: Token("dave"), "e0" * 20: Token("bob", frozenset())}
    )
    for form in forms:
        for token, status in (("b0" * 20, 200), ("d0" * 20, 404), ("e0" * 20, 404)):
            basic = base64.b64encode(f"anybody:{token}".encode()).decode()
            reply = await served.get("alice", "/handbook/", authorization=form.format(token, basic=basic))
            assert reply.status == status, (form, token)
            assert reply.headers["cache-control"].startswith(("private", "no-store"))
    assert asked(served) == 3  # each token once, in whatever form
    served.clock.pass_(60)
    served.forge.settings("alice/handbook").readers = frozenset()
    assert (await served.get("alice", "/handbook/", authorization="Bearer " + "b0" * 20)).status == 404


async def test_wrong_tokens_are_counted_as_wrong_passwords_are(served: Serving) -> None:
    from addon.preview.settings import Token

    served.forge.tokens.update({"b0" * 20: Token("bob"), "d0" * 20: Token("dave")})
    statuses = []
    for number in range(7):
        reply = await served.get("alice", "/handbook/", authorization=f"Bearer {number:040x}")
        statuses.append(reply.status)
        # A good token of one's own that may not read this forgives nothing.
        if number == 2:
            assert (await served.get("alice", "/handbook/", authorization="Bearer " + "d0" * 20)).status == 404
    assert statuses == [401] * 5 + [429] * 2
    assert (await served.get("alice", "/handbook/", authorization="Bearer " + "b0" * 20)).status == 429
    assert served.forge.count(ME) <= 8


def test_where_a_login_leads_back_to_has_its_query_if_it_had_one() -> None:
    assert [_parts(target) for target in ("/a", "/a?", "/a?b=c?d", "")] == [
        ("/a", None),
        ("/a", ""),
        ("/a", "b=c?d"),
        ("", None),
    ]


def test_what_is_taken_for_a_token() -> None:
    assert token_of(b"Bearer abc.def-_~+/=") == "abc.def-_~+/="
    for nothing in (
        None,
        b"",
        b"Bearer",
        b"Bearer a b",
        b"Bearer \xff",
        b"Digest x",
        b"Basic !!",
        b"Bearer " + b"a" * 9000,
    ):
        assert token_of(nothing) is None, nothing


# ---- settings, branches, passwords ----------------------------------------------------------------------------------


async def test_without_the_options_such_a_site_is_closed_and_says_why(tmp_path: Path) -> None:
    forge = team_forge(
        tmp_path, public={".pages": b"access: members\npublish_private: true\n", "public/index.html": b"x"}
    )
    try:
        off = {name: value for name, value in OPTIONS.items() if not name.startswith("oauth")}
        async with serving(forge, token=TOKEN, **off) as served:
            for path in ("/handbook/", "/public/", "/public/index.html", "/public/nothing", "/public/.pages/site"):
                reply = await served.get("alice", path, authorization="Bearer " + TOKEN)
                assert reply.status == 403, path
                assert b"oauthClientId" in reply.body
            for path in ("/.pages/login", "/.pages/login/callback?code=x&state=y"):
                assert (await served.get("alice", path)).status == 404
        async with serving(forge, token=TOKEN, **{**OPTIONS, "servePrivateRepositories": False}) as served:
            assert (await served.get("alice", "/handbook/")).status == 404
    finally:
        forge.stop()


async def test_domains_and_hosts_of_branches_are_closed_alike(tmp_path: Path) -> None:
    import hashlib

    from addon.domains.store import DomainStore
    from addon.shared.domain_mappings import Mapping, custom_domain_key, value_of
    from tests.addon.preview.sites import Site

    folder = tmp_path / "alice"
    secret = hashlib.sha256(b"open sesame").hexdigest()
    forge = team_forge(tmp_path)
    try:
        for name, more in (("plain", ""), ("locked", f"branchesPassword: {secret}\n")):
            pages = f"access: members\ncustom_domain: {name}.example\nenable_branches: [dev]\n{more}".encode()
            site = Site(folder / f"{name}.git", {".pages": pages, "public/index.html": b"main"})
            site.commit({"public/index.html": b"dev"}, branch="dev")
            forge.settings(f"alice/{name}").private = True
            forge.settings(f"alice/{name}").readers = frozenset({"bob"})
        async with serving(forge, token=TOKEN, **OPTIONS) as served:
            domains = served.server._hosts._mappings.domains
            assert domains is not None
            store = domains._store
            assert isinstance(store, DomainStore)
            for name in ("plain", "locked"):
                for host, branch in ((f"{name}.example", None), (f"dev.{name}.example", "dev")):
                    store._own[custom_domain_key(host)] = value_of(Mapping("alice", name, branch)).encode()
            bob, dave = Browser(served), Browser(served, "dave")
            for host, body in (("plain.example", b"main"), ("dev.plain.example", b"dev"), ("locked.example", b"main")):
                reply = await bob.open(f"https://{host}/")
                assert (reply.status, reply.body) == (200, body), host
                assert (await dave.open(f"https://{host}/")).status == 404, host
            for browser in (bob, dave):
                asks = await browser.open("https://dev.locked.example/")
                assert (asks.status, b'type="password"' in asks.body) == (401, True)
            sessions = {host: jar.get("__Host-pages_member") for host, jar in bob.cookies.items()}
            assert sessions["plain.example"] != sessions["dev.plain.example"]
            bob.cookies["plain.example"] = dict(bob.cookies["dev.plain.example"])
            assert (await bob.one("https://plain.example/")).status in (303, 401)
    finally:
        forge.stop()


async def test_members_and_a_password_need_both(tmp_path: Path) -> None:
    import hashlib

    secret = hashlib.sha256(b"open sesame").hexdigest().encode()
    files = {".pages": b"access: members\npassword: " + secret + b"\n", "public/index.html": b"both"}
    forge = team_forge(tmp_path, both=files)
    try:
        async with serving(forge, token=TOKEN, **OPTIONS) as served:
            both = "https://alice.pages.test/both/"
            bob = Browser(served)
            assert (await bob.open(both)).status == 401
            assert b'type="password"' in (await bob.one(both)).body
            form = b"password=open+sesame"
            assert (await Browser(served).one(both, "POST", form)).status == 401
            reply = await bob.one(both, "POST", form)
            assert reply.status == 303
            assert (await bob.one(both)).body == b"both"
            member = bob.cookies["alice.pages.test"].pop("__Host-pages_member")
            assert (await bob.one(both)).status in (303, 401)
            bob.cookies["alice.pages.test"] = {"__Host-pages_member": member}
            assert (await bob.one(both)).status == 401
    finally:
        forge.stop()


async def test_the_same_login_leads_to_the_previews_of_the_site(tmp_path: Path) -> None:
    """A preview is a host of its own: no cookie of the site counts there, and who is logged in at Forgejo passes."""
    site = {**HANDBOOK, ".pages": b"access: members\npreviews: {branches: all}\n"}
    forge = team_forge(tmp_path)
    try:
        book = Site(tmp_path / "alice" / "handbook.git", site)
        book.commit({**site, "public/index.html": b"a draft"}, branch="draft")
        options = {**OPTIONS, "previewDomain": "preview.test", "previewTTL": "3000d"}
        async with serving(forge, token=TOKEN, **options) as served:
            draft = "https://draft--handbook--alice.preview.test/"
            bob = Browser(served)
            assert (await bob.open(SITE)).status == 200
            assert (await bob.one(draft, accept="*/*")).status == 401
            reply = await bob.open(draft)
            assert (reply.status, reply.body) == (200, b"a draft")
            assert reply.headers["cache-control"].startswith("private")
            assert bob.hops[-1] == draft
            dave = Browser(served, "dave")
            assert (await dave.open(draft)).status == 404
            served.forge.settings("alice/handbook").readers = frozenset()
            served.clock.pass_(60)
            assert (await bob.one(draft)).status == 404
    finally:
        forge.stop()
