# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Hashes: those of the Traefik plugin, those of argon2id, and what pretends to be one."""

import hashlib
import hmac
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.access import passwords
from addon.access.passwords import (
    MAX_MEMORY,
    MAX_WORK,
    AccessFault,
    Argon2,
    Form,
    PasswordHash,
    Unchecked,
    cost,
    make_hash,
    parse_hash,
    verify,
)
from addon.sites.pages_file import parse
from tests.addon.access.access_cases import QUICK, SECRET

# Made by argon2-cffi's PasswordHasher, whose defaults are RFC 9106's second recommendation.
FULL = "$argon2id$v=19$m=65536,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$s7HDvht1s+JaAdJ1qoLH/2c4KCL7V5DME2Cyd+d1XPI"
SALT, DIGEST = QUICK.split("$")[-2:]


def argon2(parameters: str, salt: str = SALT, digest: str = DIGEST) -> str:
    return f"$argon2id$v=19${parameters}${salt}${digest}"


@pytest.mark.parametrize("text", [SECRET, SECRET.upper(), SECRET.title(), QUICK, FULL])
def test_the_password_is_recognised_and_no_other(text: str) -> None:
    hash = parse_hash(text)
    assert verify(hash, b"secret")
    for wrong in (b"", b"Secret", b"secret ", b"secret\0", SECRET.encode(), b"s" * 100_000):
        assert not verify(hash, wrong)


def test_hex_in_either_case_is_one_hash() -> None:
    assert parse_hash(SECRET.upper()) == parse_hash(SECRET)


MALFORMED = {
    "empty": "",
    "a password": "hunter2",
    "sha-256, cut": SECRET[:-1],
    "sha-256, too long": SECRET + "0",
    "sha-256 with a stranger": SECRET[:-1] + "g",
    "sha-256 and a line break": SECRET + "\n",
    "digits of another script": "٣" * 64,
    "sha-1": hashlib.sha1(b"secret").hexdigest(),
    "sha-512": hashlib.sha512(b"secret").hexdigest(),
    "bcrypt": "$2b$12$abcdefghijklmnopqrstuuWzVvUvTQw3wZ5mJv0a1b2c3d4e5f6g7",
    "argon2i": QUICK.replace("argon2id", "argon2i"),
    "argon2d": QUICK.replace("argon2id", "argon2d"),
    "version 16": QUICK.replace("v=19", "v=16"),
    "no version": QUICK.replace("$v=19", ""),
    "cut in the digest": QUICK[:-1],
    "cut in the salt": argon2("m=8,t=1,p=1", "MDEyMzQ"),
    "digest too short to be safe": argon2("m=8,t=1,p=1", digest="c2hvcnQ"),
    "spare bits": QUICK[:-1] + "d",
    "padded": QUICK + "=",
    "line break": QUICK + "\n",
    "other order": argon2("t=1,m=8,p=1"),
    "sign": argon2("m=+8,t=1,p=1"),
    "leading zero": argon2("m=08,t=1,p=1"),
    "no passes": argon2("m=8,t=0,p=1"),
    "no lanes": argon2("m=8,t=1,p=0"),
    "key id": argon2("m=8,t=1,p=1,keyid=Zm9v"),
    "very long": "$argon2id$v=19$" + "m=8," * 10_000,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_hash_is_a_fault_that_does_not_repeat_it(name: str) -> None:
    text = MALFORMED[name]
    with pytest.raises(AccessFault) as fault:
        parse_hash(text, "branchesPassword")
    assert fault.value.reason.startswith("branchesPassword: ")
    assert "pages hash" in fault.value.reason
    assert not text.strip() or text.strip() not in str(fault.value)


@pytest.mark.parametrize(
    ("parameters", "allowed"),
    [
        ("m=65536,t=3,p=4", True),  # RFC 9106, second recommendation
        ("m=19456,t=2,p=1", True),  # OWASP
        ("m=47104,t=1,p=1", True),
        (f"m={MAX_MEMORY},t={MAX_WORK // MAX_MEMORY},p=8", True),
        (f"m={MAX_MEMORY + 1},t=1,p=1", False),
        (f"m={MAX_MEMORY},t={MAX_WORK // MAX_MEMORY + 1},p=1", False),
        ("m=2097152,t=1,p=4", False),  # RFC 9106, first recommendation: 2 GiB
        ("m=4294967295,t=1,p=1", False),
        ("m=8,t=4294967295,p=1", False),
        ("m=9999999999,t=9999999999,p=9999999", False),
        ("m=1024,t=1,p=9", False),
        ("m=7,t=1,p=1", False),
        ("m=15,t=1,p=2", False),
        ("m=16,t=1,p=2", True),
    ],
)
def test_a_hash_may_not_ask_for_more_work_than_a_visitor_is_worth(parameters: str, allowed: bool) -> None:
    if allowed:
        assert parse_hash(argon2(parameters)).form is Form.ARGON2ID
    else:
        with pytest.raises(AccessFault):
            parse_hash(argon2(parameters))


@given(st.text(max_size=120) | st.from_regex(r"\$argon2id\$v=19\$[mtp=,0-9]{0,30}\$[A-Za-z0-9+/]{0,99}\$.{0,99}"))
def test_any_text_is_a_hash_or_a_fault_and_never_anything_else(text: str) -> None:
    try:
        hash = parse_hash(text)
    except AccessFault:
        return
    assert hash.argon2.memory * hash.argon2.passes <= MAX_WORK


class Counting:
    """Stands before the two primitives and notes what they are asked to do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.work: list[object] = []
        sha256, compare = hashlib.sha256, hmac.compare_digest

        def hashed(password: bytes, wanted: Argon2) -> bytes:
            self.work.append(("argon2", wanted.memory, wanted.passes, wanted.lanes, len(wanted.digest)))
            return bytes(len(wanted.digest))

        def digested(data: bytes) -> object:
            self.work.append("sha256")
            return sha256(data)

        def compared(one: bytes, other: bytes) -> bool:
            self.work.append("compare")
            return compare(one, other)

        monkeypatch.setattr(passwords, "_implementation", lambda: hashed)
        monkeypatch.setattr(hashlib, "sha256", digested)
        monkeypatch.setattr(hmac, "compare_digest", compared)


def test_the_work_is_the_same_for_either_form_for_the_right_password_and_for_the_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counting = Counting(monkeypatch)
    seen = []
    for text in (SECRET, FULL):
        for password in (b"secret", b"wrong", b"", b"x" * 1000):
            verify(parse_hash(text), password)
            seen.append(tuple(counting.work))
            counting.work.clear()
    assert set(seen) == {("sha256", "compare", ("argon2", 65536, 3, 4, 32), "compare")}


@pytest.mark.parametrize("form", Form)
def test_a_hash_that_is_made_is_read_again_also_out_of_a_pages_file(form: Form) -> None:
    text = make_hash("pässword: #1".encode(), form)
    for quoted in (text, f"'{text}'", f'"{text}"'):
        assert parse(f"password: {quoted}\n".encode()).password == text
    assert parse_hash(text).form is form
    assert verify(parse_hash(text), "pässword: #1".encode())
    assert not verify(parse_hash(text), b"p")


def test_two_hashes_of_one_password_differ() -> None:
    assert make_hash(b"secret") != make_hash(b"secret")


def test_both_ways_to_argon2_make_the_same_and_neither_stops_other_threads() -> None:
    wanted = Argon2(65536, 3, 4, b"0123456789abcdef", bytes(32))
    ways = {passwords._in_a_process, passwords._implementation()}
    for way in ways:
        ticks: list[int] = []
        done = threading.Event()

        def watch(ticks: list[int] = ticks, done: threading.Event = done) -> None:
            while not done.wait(0.001):
                ticks.append(1)

        watcher = threading.Thread(target=watch)
        watcher.start()
        made = way(b"secret", wanted)
        done.set()
        watcher.join()
        assert made == parse_hash(FULL).argon2.digest
        assert len(ticks) > 10  # the other thread ran on while this one hashed


def test_where_there_is_no_memory_the_password_is_neither_right_nor_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(password: bytes, wanted: Argon2) -> bytes:
        raise MemoryError(password)

    monkeypatch.setattr(passwords, "_implementation", lambda: fails)
    for text in (SECRET, QUICK):
        with pytest.raises(Unchecked) as error:
            verify(parse_hash(text), b"a very secret password")
        assert "secret" not in str(error.value)
        assert error.value.__cause__ is None
        assert error.value.__suppress_context__


def test_where_there_is_no_argon2_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_PROGRAM", "raise ImportError")
    with pytest.raises(Unchecked, match="install argon2-cffi"):
        passwords._in_a_process(b"secret", parse_hash(QUICK).argon2)


def test_nothing_of_a_hash_is_in_its_repr() -> None:
    shown = repr([parse_hash(SECRET), parse_hash(QUICK)])
    assert isinstance(parse_hash(SECRET), PasswordHash)
    for part in (SECRET[:8], SALT, DIGEST, "m=8", "0123456789abcdef"):
        assert part not in shown


@pytest.mark.parametrize(
    ("text", "price"), [(FULL, 1.0), (SECRET, 1.0), (QUICK, 8 / (65536 * 3)), (argon2("m=131072,t=4,p=8"), 8 / 3)]
)
def test_the_price_of_a_check_is_that_of_what_is_run(text: str, price: float) -> None:
    assert cost(parse_hash(text)) == pytest.approx(price)


def test_a_check_takes_128_mebibytes_and_writes_half_a_gibibyte_at_most() -> None:
    assert (MAX_MEMORY, MAX_WORK, passwords.MAX_PARALLELISM) == (128 * 1024, 512 * 1024, 8)


def test_a_hash_that_is_made_is_rfc_9106s_second_recommendation() -> None:
    made = parse_hash(make_hash(b"secret")).argon2
    assert (made.memory, made.passes, made.lanes, len(made.salt), len(made.digest)) == (65536, 3, 4, 16, 32)
    assert made.salt != bytes(16)


@pytest.mark.parametrize(
    ("text", "words"),
    [("$argon2id$x", "damaged"), ("$2b$12$x", "expected SHA-256 or argon2id"), ("secret", "not a password")],
)
def test_the_owner_is_told_what_is_wrong_with_a_hash(text: str, words: str) -> None:
    with pytest.raises(AccessFault, match=words):
        parse_hash(text)
