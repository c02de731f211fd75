# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The access log: its forms, read by goaccess as well, and its file, which may be taken away from under it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from addon.admin.access_formats import FORMATS, Entry, Seen, network_of, seen
from addon.admin.access_log import AccessLog
from tests.cases import by_outcome
from tests.waiting import wait_until

AT = 1_800_000_000.25
AGENT = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"
TRACE = b"00-" + b"ab" * 16 + b"-" + b"2e" * 8 + b"-01"
SEEN = Seen("HTTP/2.0", True, AGENT.encode(), b"https://example.org/a?token=hush#x", TRACE)
ENTRY = Entry(AT, "192.0.2.77", "GET", "alice.pages.test", "/blog/", 200, 1234, 0.0125, "HIT", SEEN)


def record(log: AccessLog, **changed: Any) -> None:
    line = {
        "client": "192.0.2.77",
        "method": "GET",
        "host": "alice.pages.test",
        "path": "/blog/",
        "status": 200,
        "nbytes": 1234,
        "seconds": 0.0125,
        "cache": "HIT",
        "seen": SEEN,
    }
    log.record(**{**line, **changed})


def test_ours_has_what_is_known() -> None:
    assert json.loads(FORMATS["json"].of(ENTRY)) == {
        "time": "2027-01-15T08:00:00.250+00:00",
        "client": "192.0.2.77",
        "method": "GET",
        "host": "alice.pages.test",
        "path": "/blog/",
        "status": 200,
        "bytes": 1234,
        "ms": 12.5,
        "cache": "HIT",
        "protocol": "HTTP/2.0",
        "tls": True,
        "agent": AGENT,
        "referer": "https://example.org/a",
        "trace": "ab" * 16,
    }


def test_ours_names_what_answered_and_why_it_is_no_page() -> None:
    line = json.loads(
        FORMATS["json"].of(ENTRY._replace(status=404, site="alice/blog", commit="ab12", reason="no file"))
    )
    assert (line["site"], line["commit"], line["reason"]) == ("alice/blog", "ab12", "no file")


def test_lines_that_cannot_be_written_are_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    log = AccessLog(Path("/dev/full"))
    try:
        for count in (1, 2):
            record(log)
            wait_until(lambda count=count: log.lost >= count, "a line that is lost")  # type: ignore[misc]
    finally:
        log.close()
    assert "No space left" in log.trouble
    assert len([each for each in caplog.records if "accessLog" in each.message]) == 1


def test_combined_is_as_apache_writes_it() -> None:
    assert FORMATS["combined"].of(ENTRY) == (
        '192.0.2.77 - - [15/Jan/2027:08:00:00 +0000] "GET /blog/ HTTP/2.0" 200 1234'
        ' "https://example.org/a" "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"'
    )


@pytest.mark.parametrize("evil", ['x" 200 1 "', "x\\", "a\r\nGET /", "\x1b[2J", "é", "\udcff", "\x00"])
@pytest.mark.parametrize("form", list(FORMATS))
def test_what_a_client_chooses_ends_neither_line_nor_field(form: str, evil: str) -> None:
    octets = evil.encode("utf-8", "surrogateescape")
    line = FORMATS[form].of(ENTRY._replace(path=f"/{evil}", seen=SEEN._replace(agent=octets, referer=octets)))
    assert line.isprintable()
    assert line.isascii()
    if form == "combined":
        assert re.fullmatch(r'\S+ - - \[[^]]+\] "GET [^"]+ HTTP/2.0" 200 1234 "[^"]+" "[^"]+"', line)
    else:
        json.loads(line)


def test_what_is_noted_of_header_fields_has_an_end() -> None:
    fields = {b"user-agent": b"a" * 10_000, b"traceparent": TRACE}
    assert seen("HTTP/1.1", False, fields.get) == Seen("HTTP/1.1", False, b"a" * 512, b"", TRACE)


@pytest.mark.parametrize("given", [b"", b"00-nonsense", TRACE[:-1], TRACE.upper(), TRACE + b"-more"])
def test_only_a_trace_is_noted_as_one(given: bytes) -> None:
    assert "trace" not in json.loads(FORMATS["json"].of(ENTRY._replace(seen=SEEN._replace(traceparent=given))))


@pytest.mark.parametrize(
    ("address", "network"),
    by_outcome(
        {
            "192.0.2.0": ["192.0.2.77", "::ffff:192.0.2.77"],
            "2001:db8:1234::": ["2001:db8:1234:5678::9"],
            "fe80::": ["fe80::1%eth0"],
            "": ["unknown"],
        }
    ),
)
def test_of_an_address_only_its_network_is_told(address: str, network: str) -> None:
    assert network_of(address) == network


def lines_of(path: Path, count: int) -> list[str]:
    def lines() -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    wait_until(lambda: len(lines()) >= count, f"{count} lines")
    return lines()


def test_a_file_that_is_renamed_is_followed_by_a_new_one_and_no_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "requests.log"
    log = AccessLog(path, "combined", anonymous=True)
    record(log, path="/first")
    lines_of(path, 1)
    path.rename(old := tmp_path / "requests.log.1")
    sent = 0

    def written_anew() -> bool:
        nonlocal sent
        record(log, path=f"/{sent}")
        sent += 1
        return path.exists()

    wait_until(written_anew, "a new file")
    log.close()
    written = old.read_text().splitlines() + path.read_text().splitlines()
    assert len(written) == 1 + sent
    assert all(line.startswith("192.0.2.0 - - [") for line in written)


@pytest.mark.parametrize("anonymous", [False, True])
@pytest.mark.parametrize("form", list(FORMATS))
def test_what_is_answered_again_has_the_line_that_it_had(
    form: str, anonymous: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: AT)
    log = AccessLog(path := tmp_path / "requests.log", form, anonymous=anonymous)
    entry = ENTRY._replace(site="alice/blog", commit="ab12")
    record(log, site="alice/blog", commit="ab12")
    log.record_again(log.parts(entry._replace(at=0.0, client="", seconds=0.0)), "192.0.2.77", 0.0125)
    log.record_again(log.parts(entry), "2001:db8:1:2::3", 0.5)
    log.close()
    once, again, other = lines_of(path, 3)
    assert again == once == FORMATS[form].of(entry._replace(client="192.0.2.0") if anonymous else entry)
    assert ("2001:db8:1::" if anonymous else "2001:db8:1:2::3") in other


def test_who_is_too_far_behind_drops_what_comes_again_and_says_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addon.admin.access_log._MOST_WAITING", 3)
    monkeypatch.setattr("addon.admin.access_log._COLLECT_SECONDS", 0.5)
    log = AccessLog(path := tmp_path / "requests.log")
    for _ in range(10):
        log.record_again(log.parts(ENTRY), "192.0.2.77", 0.0125)
    assert len(lines_of(path, 4)) == 4
    log.record_again(log.parts(ENTRY), "192.0.2.77", 0.0125)
    assert json.loads(lines_of(path, 5)[4])["dropped_before"] == 6
    log.record_again(log.parts(ENTRY), "192.0.2.77", 0.0125)
    log.close()
    assert "dropped_before" not in json.loads(lines_of(path, 6)[5])


@pytest.mark.skipif(shutil.which("goaccess") is None and "CI" not in os.environ, reason="goaccess is not there")
@pytest.mark.parametrize(("form", "name"), [("combined", "COMBINED"), ("caddy", "CADDY")])
def test_goaccess_reads_it_without_more_options(form: str, name: str, tmp_path: Path) -> None:
    path, report = tmp_path / "requests.log", tmp_path / "report.json"
    log = AccessLog(path, form)
    for number in range(40):
        record(log, path=f"/page-{number % 4}", status=404 if number % 4 == 3 else 200)
    record(log, path='/"quoted" \\ path', seen=Seen("HTTP/1.1", False, b'an "agent"'))
    log.close()
    command = ["goaccess", str(path), f"--log-format={name}", "--no-global-config", "-o", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(report.read_text())
    assert told["general"]["total_requests"] == 41
    assert told["general"]["failed_requests"] == 0
    assert told["general"]["bandwidth"] == 41 * 1234
    requests = {each["data"]: each["hits"]["count"] for each in told["requests"]["data"]}
    assert requests["/page-0"] == 10
    assert {each["data"] for each in told["not_found"]["data"]} == {"/page-3"}


def test_a_caddy_line_has_the_fields_that_its_readers_need() -> None:
    told = json.loads(FORMATS["caddy"].of(ENTRY))
    assert told["ts"] == AT
    assert told["request"]["client_ip"] == "192.0.2.77"
    assert told["request"]["headers"]["User-Agent"] == [AGENT]
    assert (told["status"], told["size"], told["duration"]) == (200, 1234, 0.0125)
