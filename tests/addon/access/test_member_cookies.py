# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The cookies of a member's login, and what is sealed in them: for one host, one purpose and some minutes."""

import base64
import hashlib
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from addon.access import member_cookies
from addon.access.member_cookies import (
    BROWSER,
    LOGIN,
    SESSION,
    Begun,
    begun,
    browser_of,
    digest_of,
    login_cookie,
    new_id,
    next_round,
    session_id,
    session_value,
    set_cookie,
    too_many,
    values,
)
from addon.access.sealing import Sealer

SEALER = Sealer(b"a key", b"members 1")
HOST = "alice.pages.test"
ID = "A" * 22
NOW = 1_700_000_000


def test_limits_of_a_login_are_ten_minutes_and_six_rounds_a_minute() -> None:
    assert (member_cookies.BEGUN_LIFE, member_cookies.ROUND_SECONDS, member_cookies.MOST_ROUNDS) == (600, 60, 6)


def test_names_are_random_and_as_long_as_cookies_have_them() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    for id in ids:
        assert browser_of(BROWSER + b"=" + id.encode()) == id


def test_what_stands_for_secrets_tells_where_each_ends() -> None:
    assert digest_of("a", "b") == hashlib.sha256(b"a\0b").hexdigest()
    assert digest_of("ab") != digest_of("a", "b")
    assert digest_of("\udcff") == hashlib.sha256(b"\xff").hexdigest()


# --- the session ------------------------------------------------------------------------------------------------------


def test_a_session_is_that_of_its_host_alone() -> None:
    value = session_value(SEALER, HOST, ID).encode()
    header = SESSION + b"=" + value
    assert session_id(SEALER, HOST, header) == ID
    assert session_id(SEALER, "bob.pages.test", header) is None
    assert session_id(Sealer(b"a key", b"members 2"), HOST, header) is None
    assert session_id(Sealer(b"another", b"members 1"), HOST, header) is None
    for other in (ID, "B" + value.decode()[1:], value.decode() + "x", f"{ID}.", f"{ID}.{ID}"):
        assert session_id(SEALER, HOST, SESSION + b"=" + other.encode()) is None
    assert session_id(SEALER, HOST, None) is None


def test_a_session_is_found_behind_what_is_none() -> None:
    value = session_value(SEALER, HOST, ID).encode()
    for before in (b"x", ID.encode() + b"." + ID.encode()):
        assert session_id(SEALER, HOST, b"%b=%b; %b=%b" % (SESSION, before, SESSION, value)) == ID


def test_a_header_is_read_to_an_end_however_long_it_is() -> None:
    assert values(b"; ".join(b"a=%d" % number for number in range(100)), b"a") == [b"%d" % n for n in range(8)]
    for size, found in ((64 * 1024, [b"1"]), (64 * 1024 + 1, [b""])):
        assert values(b"x" * (size - 4) + b";a=1", b"a") == found
    assert values(b" \ta=1\t ", b"a") == [b"1"]


# --- the login --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "good"), [(-60, False), (-59.5, True), (0, True), (599.5, True), (600, False), (10**6, False)]
)
def test_what_was_begun_holds_for_ten_minutes(age: float, good: bool) -> None:
    header = LOGIN + b"=%b.3.%d" % (ID.encode(), NOW)
    assert begun(header, NOW + age) == (Begun(ID, 3, NOW) if good else None)


def test_what_was_begun_is_found_behind_what_is_over_or_nonsense() -> None:
    good = LOGIN + b"=%b.3.%d" % (ID.encode(), NOW)
    for before in (b"x", b"%b.1.%d" % (ID.encode(), NOW - 1000), b"%b.100.%d" % (ID.encode(), NOW)):
        assert begun(b"%b=%b; %b" % (LOGIN, before, good), NOW) == Begun(ID, 3, NOW)
    assert begun(None, NOW) is None


def test_rounds_are_counted_for_a_minute_and_keep_their_name() -> None:
    first = next_round(None, NOW + 0.7)
    assert (len(first.nonce), first.rounds, first.at) == (22, 1, NOW)
    assert next_round(first, NOW + 59) == first._replace(rounds=2)
    assert next_round(first, NOW + 60.5) == Begun(first.nonce, 1, NOW + 60)
    # However many there were, the cookie says at most as many as it has digits for.
    assert next_round(first._replace(rounds=98), NOW).rounds == next_round(first._replace(rounds=99), NOW).rounds == 99


def test_a_browser_that_goes_round_is_asked_before_the_seventh_time() -> None:
    for rounds, age, many in ((5, 0, False), (6, 0, True), (7, 59.5, True), (7, 60, False), (99, 0, True)):
        assert too_many(Begun(ID, rounds, NOW), NOW + age) == many
    assert not too_many(None, NOW)


def test_a_browser_is_named_by_the_first_cookie_that_can_be_ours() -> None:
    assert browser_of(None) is None
    assert browser_of(BROWSER + b"=" + b"A" * 21) is None
    assert browser_of(b"%b=; %b=%b" % (BROWSER, BROWSER, ID.encode())) == ID


def test_cookies_are_for_one_host_over_https_alone_and_no_script() -> None:
    always = b"; HttpOnly; SameSite=Lax; Secure"
    assert set_cookie(SESSION, "v", 1) == (b"Set-Cookie", b"__Host-pages_member=v; Path=/; Max-Age=1" + always)
    gone = b"__Host-pages_member=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT" + always
    assert set_cookie(SESSION, "", 0) == (b"Set-Cookie", gone)
    login = b"__Host-pages_login=%b.2.%d; Path=/; Max-Age=600" % (ID.encode(), NOW) + always
    assert login_cookie(Begun(ID, 2, NOW)) == (b"Set-Cookie", login)


# --- sealed -----------------------------------------------------------------------------------------------------------


def test_what_is_sealed_opens_at_its_place_with_its_key_whatever_its_length() -> None:
    for size in range(8):
        fields = {"a": "x" * size, "é": [1, None]}
        text = SEALER.seal("here", fields)
        assert "=" not in text
        assert SEALER.opened("here", text) == fields
        assert SEALER.opened("there", text) is None
        assert Sealer(b"a key", b"members 2").opened("here", text) is None
    texts = [SEALER.seal("here", {}) for _ in range(100)]
    assert len(set(texts)) == 100
    assert all(SEALER.opened("here", text) == {} for text in texts)
    assert any("-" in text for text in texts)
    assert not any("+" in text or "/" in text for text in texts)


def test_a_sealed_record_is_opened_up_to_sixteen_kibibytes() -> None:
    fitting = SEALER.seal("here", {"a": "x" * 12_252})
    assert len(fitting) == 16 * 1024
    assert SEALER.opened("here", fitting) == {"a": "x" * 12_252}
    assert SEALER.opened("here", SEALER.seal("here", {"a": "x" * 12_253})) is None


@pytest.mark.parametrize("text", ["", "A", "AAAA", "!!!!", "é" * 40, "A" * 40, "A" * 16, "A" * 41])
def test_anything_else_opens_nothing(text: str) -> None:
    assert SEALER.opened("here", text) is None


@pytest.mark.parametrize("data", [b"[]", b"1", b"null", b"{", b"\xff"])
def test_what_is_sealed_and_no_record_opens_nothing(data: bytes) -> None:
    nonce = os.urandom(12)
    cipher = AESGCM(SEALER._key)
    sealed = base64.urlsafe_b64encode(nonce + cipher.encrypt(nonce, data, b"here")).decode().rstrip("=")
    assert SEALER.opened("here", sealed) is None
    good = base64.urlsafe_b64encode(nonce + cipher.encrypt(nonce, b'{"a":1}', b"here")).decode().rstrip("=")
    assert SEALER.opened("here", good) == {"a": 1}


def test_a_mark_is_the_same_after_an_upgrade() -> None:
    assert SEALER.mark(f"{HOST} {ID}") == "_Uku8aN2GHVtyaVq2b-f7A"
    assert repr(SEALER) == "Sealer(…)"
