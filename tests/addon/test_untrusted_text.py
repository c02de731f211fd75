# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Every pattern and every parser that meets foreign text is linear: counted in steps, once and at four times the size.

Patterns are found in the source, so that a new one is tested without being named here; what is only ours (the
operator's settings, our own style sheet) is named as such. Of parsers, every line that Python executes is counted.
"""

import ast
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import pytest
from mitmproxy.http import Headers

from addon.access import control, cookies
from addon.admin import webhook, webhook_payload
from addon.domains.names import DomainNames
from addon.forgejo import answers, lfs, pull_answers
from addon.settings.schema import Settings
from addon.shared import domain_mappings, records, traefik_router_keys
from addon.sites import pages_file, preview_rules
from addon.web import codings, http_dates, negotiation, preview_labels, ranges, request_head, routing
from addon.web.forwarding import Forwarding
from tests.addon.backtracking import Counting, TooMany, cruel
from tests.addon.running_lines import lines

ROOT = Path(__file__).parents[2]
OURS = ("addon/settings/", "addon/commands/", "addon/preview/")
"""Where no foreign text comes: the operator's own file, the command line, the preview of one's own folder."""
OUR_TEXT = {
    ("addon/templates/__init__.py", r"\s*\n\s*"): "our own style sheet",
    ("addon/templates/__init__.py", r"/\*.*?\*/"): "our own style sheet",
}
SHORT = 250
"""Characters of the shorter text: above every bound in a pattern (`{0,61}`), so that four times as much is no more than
four times the work."""
SEARCHING = {"search", "findall", "finditer", "sub", "subn", "split"}


class Found(NamedTuple):
    """A pattern, where it stands, and how it is asked."""

    file: str
    pattern: re.Pattern[Any]
    how: frozenset[str]

    def __str__(self) -> str:
        return f"{self.file}: {self.pattern.pattern!r}"


def patterns() -> Iterator[Found]:
    for path in sorted([*ROOT.glob("addon/**/*.py"), *ROOT.glob("resp/**/*.py")]):
        file = path.relative_to(ROOT).as_posix()
        if file.startswith(OURS) or file in ("addon/pages.py", "addon/plugin.py"):
            continue
        written = path.read_text()
        if not re.search(r"^import re$", written, re.MULTILINE):
            continue
        source = ast.parse(written)
        asked: dict[str, set[str]] = {}
        inline: list[tuple[str, ast.Call]] = []
        for node in ast.walk(source):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                asked.setdefault(node.value.id, set()).add(node.attr)
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "re"
                and node.func.attr in {*SEARCHING, "match", "fullmatch"}
            ):
                inline.append((node.func.attr, node))
        module = importlib.import_module(file.removesuffix(".py").replace("/", ".").removesuffix(".__init__"))
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern) and name in asked:
                yield Found(file, value, frozenset(asked[name]))
        for how, call in inline:
            local = {node.id: "name" for node in ast.walk(call.args[0]) if isinstance(node, ast.Name)}
            text = eval(compile(ast.Expression(call.args[0]), file, "eval"), local | vars(module))
            if isinstance(text, re.Pattern):
                text = text.pattern
            flags = next((keyword.value for keyword in call.keywords if keyword.arg == "flags"), None)
            value = 0 if flags is None else eval(compile(ast.Expression(flags), file, "eval"), vars(module))
            yield Found(file, re.compile(text, value), frozenset({how}))


PATTERNS = [found for found in patterns() if (found.file, found.pattern.pattern) not in OUR_TEXT]


def test_the_patterns_are_found() -> None:
    files = {found.file for found in PATTERNS}
    assert len(PATTERNS) > 60
    assert {
        "addon/web/forwarding.py",
        "addon/forgejo/answers.py",
        "addon/web/negotiation.py",
        "resp/values.py",
    } <= files


@pytest.mark.parametrize("found", PATTERNS, ids=str)
def test_a_pattern_is_linear(found: Found) -> None:
    counting = Counting(found.pattern)
    full = "fullmatch" in found.how
    run = counting.search if found.how & SEARCHING else counting.match
    for text in cruel(found.pattern):
        few = run(text(SHORT), 10**6, full=full)
        try:
            run(text(4 * SHORT), 6 * few + 400, full=full)
        except TooMany:
            shown = "".join(map(chr, text(40)))
            pytest.fail(f"{found}: four times the text takes more than six times the {few} steps: {shown!r}")


def test_what_was_quadratic_is_seen_to_be() -> None:
    former = re.compile(r'\s*([a-z]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*(?:;|$)')
    with pytest.raises(pytest.fail.Exception):
        test_a_pattern_is_linear(Found("then", former, frozenset({"match"})))
    with pytest.raises(pytest.fail.Exception):
        test_a_pattern_is_linear(Found("trailing", re.compile(r"\s+$"), frozenset({"search"})))


# --- parsers ----------------------------------------------------------------------------------------------------------


def through(name: str, peer: str) -> Callable[[str], object]:
    settings = Settings.from_mapping(
        {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:3000", "stateDir": "/nowhere"}
    )

    def run(text: str) -> object:
        headers = Headers([(name.encode(), text.encode("latin-1", "replace"))])
        forwarding = Forwarding(settings)
        forwarding.rewrite(headers, peer, "git.test", False)
        return forwarding.visitor(Headers([(name.encode(), text.encode("latin-1", "replace"))]), peer, False)

    return run


SETTINGS = Settings.from_mapping(
    {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:3000", "stateDir": "/nowhere"}
)
NAMES = DomainNames(SETTINGS)
PARSERS: dict[str, Callable[[str], object]] = {
    "Forwarded of a trusted peer": through("forwarded", "127.0.0.1"),
    "Forwarded of a stranger": through("forwarded", "203.0.113.9"),
    "X-Forwarded-For": through("x-forwarded-for", "127.0.0.1"),
    "X-Forwarded-Proto": through("x-forwarded-proto", "127.0.0.1"),
    "Connection": through("connection", "203.0.113.9"),
    "a path": routing.parse_path,
    "a host": routing.host_name,
    "fields": lambda text: request_head.fields(text.encode("latin-1", "replace")),
    "a request line": lambda text: request_head.request_line(text.encode("latin-1", "replace")),
    "cookies": lambda text: cookies.cleared(text.encode(), True),
    "a form": lambda text: control.form_password(text.encode()),
    "Authorization": lambda text: control.basic_password(text.encode()),
    ".pages": lambda text: pages_file.parse(text.encode()),
    "a webhook's form": lambda text: webhook_payload.form_payload(text.encode()),
    "a webhook's JSON": lambda text: webhook_payload.event_in(text.encode()),
    "a large webhook's JSON": lambda text: webhook_payload._members(text.encode()),
    "a path at Forgejo": lambda text: webhook.written("POST", text),
    "a mapping in Redis": domain_mappings.mapping_of,
    "Accept-Encoding": lambda text: codings.accepted_codings(text.encode()),
    "Range": lambda text: ranges.byte_range(text.encode()),
    "a date": lambda text: http_dates.parse_http_date(text.encode()),
    "a record in Redis": lambda text: records.read_site(text.encode(), "a" * 40),
    "a branch's host": domain_mappings.branch_label,
    "a domain": NAMES.domain,
    "a branch's name": answers.is_branch,
    "a file's path": answers.is_path,
    "a pointer": lambda text: lfs.lfs_pointer(text.encode()),
    "a preflight": lambda text: negotiation.preflight(lambda name: text.encode()),
    "a preview's label": preview_labels.read,
    "a branch's part of a label": lambda text: preview_labels.branch_part(text, "blog", "alice"),
    "a pattern of branches": partial(preview_rules.matches, "*a*b*c*"),
    "what happened to a pull request": lambda text: pull_answers.events(text.encode()),
    "Traefik's rule": lambda text: traefik_router_keys._RULE.search(text.encode()),
}
PUMPS = [
    " ",
    "a",
    "a,",
    ",",
    ";",
    '"',
    '\\"',
    "a=b;",
    "a=",
    "=",
    ".",
    "../",
    "/",
    "/a",
    "%2e/",
    "-",
    ":",
    "[",
    "{",
    "\n",
]
PUMPS += [
    "\t",
    "a: b\n",
    "- a\n",
    "for=1.1.1.1,",
    "127.0.0.1,",
    "\x80",
    "&",
    "password=",
    "%41",
    "[[",
    "x--",
    "a.",
    "é",
]
LEADS = ["", "a=", "/", '"', "for=", "payload=", "custom_domain: "]
TAILS = ["", "x y", '"', "\0"]


LOOKAHEAD = ("[", "a: b\n")
"""What is tried on `.pages` in longer texts: its scanner looks 1 024 characters ahead."""


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_is_linear(name: str) -> None:
    parse, ahead = PARSERS[name], name == ".pages"
    length, pumps, tails = (1100, LOOKAHEAD, ("",)) if ahead else (150, PUMPS, TAILS)
    counted = partial(_lines_of, parse)
    counted("warm/up")
    for lead in ("",) if ahead else LEADS:
        for pump in pumps:
            for tail in tails:
                short = lead + pump * (length // len(pump)) + tail
                long = lead + pump * (4 * length // len(pump)) + tail
                few, many = counted(short), counted(long)
                assert many <= 6 * few + 400, f"{many} lines for {long[:60]!r}…, {few} for a quarter of it"


@pytest.mark.parametrize("text", ["[" * 1000, "[a," * 400, "{a: " * 300, "a: b\n" * 1000])
def test_what_takes_long_to_read_is_read_on_a_thread(text: str) -> None:
    assert pages_file.takes_long(text.encode())


def test_a_settings_file_as_people_write_it_is_read_at_once() -> None:
    few = lines(lambda: pages_file.parse(b"enabled: true\ncustom_domain: [a.example, b.example]\n"))
    assert not pages_file.takes_long(b"enabled: true\ncustom_domain: [a.example, b.example]\n")
    assert few < 20_000


def _lines_of(parse: Callable[[str], object], text: str) -> int:
    return lines(lambda: parse(text))


def codes_of(run: Callable[[], object]) -> list[CodeType]:
    """Whose lines are executed, one entry a call."""
    found: list[CodeType] = []

    def each(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            found.append(frame.f_code)

    before = sys.gettrace()
    sys.settrace(each)  # no line of theirs is counted
    try:
        run()
    finally:
        sys.settrace(before)
    return found


def test_a_stranger_is_asked_about_before_what_it_claims_is_read_and_once() -> None:
    forwarding = Forwarding(SETTINGS)
    claims = Headers([(b"Forwarded", b"for=1.1.1.1;proto=https"), (b"X-Forwarded-For", b"1.1.1.1, 2.2.2.2")])
    codes = [code.co_name for code in codes_of(lambda: forwarding.visitor(claims, "203.0.113.9", False))]
    assert codes.count("trusts") == 1
    assert not {"_forwarded", "_claimed_addresses", "_claimed_scheme", "_items"} & set(codes)
