# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""The pages of our own: what strangers put into names stays text, links lead where they say, and everyone can read it.

Every page is read back with a strict reader over `html.parser`: what the browser would make of it is what is asserted,
not which characters stand in the source.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from types import FrameType
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon import templates
from addon.templates import (
    DOMAIN_NOT_CONFIGURED,
    FILE_NOT_FOUND,
    INVALID_DOMAIN,
    INVALID_REQUEST,
    REPOSITORY_NOT_FOUND,
    ListingEntry,
    Sort,
    broken_pages_file,
    content_security_policy,
    error_page,
    landing,
    listing,
    logged_out,
    login,
    password_not_usable,
    too_many_files,
)
from addon.templates.error_messages import time_text
from addon.templates.names import natural_order, relative_reference, size_text, visible_text

STATUSES = (400, 403, 404, 405, 410, 412, 416, 421, 431, 500, 502, 503, 504, 508)
VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style><svg onload=alert(1)>",
    "&lt;b&gt; &amp; &#60;",
    "{{ 7*7 }}{% raw %}",
    "`</code><script>`",
    "javascript:alert(1)",
    "<!--",
    "]]>",
)
PAGES: dict[str, bytes] = {
    **{f"status {status}": error_page(status) for status in (*STATUSES, 299, 418, 999)},
    **{
        message: error_page(404, message=message, host="www.example.org", path="/a/b", home="/a/")
        for message in (REPOSITORY_NOT_FOUND, FILE_NOT_FOUND, INVALID_REQUEST, DOMAIN_NOT_CONFIGURED, INVALID_DOMAIN)
    },
    "help": error_page(404, message=DOMAIN_NOT_CONFIGURED, detail=["www.example.org. CNAME alice.pages.example.org."]),
    "broken .pages": broken_pages_file("alice/blog/.pages", 7, "a list was expected"),
    "too many files": too_many_files(123456, 100_000),
    "password, no hash": password_not_usable("password: expected a hash; make the line with `pages hash`"),
    "login": login("alice.pages.example.org/blog/", stay=3600),
    "login, branch": login("dev.example.org/", branch=True),
    "login, wrong": login("example.org/", alarm="wrong"),
    "login, no form": login("example.org/", alarm="form"),
    "login, wait": login("example.org/", alarm="wait", wait=64, stay=86_400),
    "login, busy": login("example.org/", alarm="busy", wait=5),
    "logged out": logged_out("alice.pages.example.org"),
    "landing": landing("pages.example.org", "https://git.example.org"),
    "landing without Forgejo": landing("pages.example.org", None),
    "listing": listing(
        "/blog/pictures/",
        ["blog", "pictures"],
        [ListingEntry("a", "dir", None), ListingEntry("b.txt", "file", 3), ListingEntry("c", "link", 1)],
        parent=True,
        host="alice.pages.example.org",
    ),
    "empty listing": listing("/", ["blog"], [], parent=False),
}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: list[Element | str] = field(default_factory=list)

    def all(self, tag: str | None = None) -> Iterator[Element]:
        for child in self.children:
            if isinstance(child, Element):
                if tag in (None, child.tag):
                    yield child
                yield from child.all(tag)

    def one(self, tag: str) -> Element:
        (found,) = self.all(tag)
        return found

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class Reader(HTMLParser):
    """Builds the tree and refuses what a browser would have to repair: each tag is closed, in order, once."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data!r}")


def document(page: bytes) -> Element:
    reader = Reader()
    reader.feed(page.decode("utf-8"))
    reader.close()
    assert len(reader.open) == 1, f"<{reader.open[-1].tag}> is never closed"
    return reader.root


def shape(element: Element) -> list[object]:
    """The tags and attribute names of a page without its words: what hostile text must not change."""
    return [
        (child.tag, sorted(child.attributes), shape(child)) for child in element.children if not isinstance(child, str)
    ]


def rows(page: bytes) -> list[tuple[str, str, str]]:
    """(name, href, size) of each row of a listing but the header and the parent folder."""
    found = []
    for row in document(page).one("tbody").all("tr"):
        if row.attributes["class"] != "up":
            link = row.one("a")
            found.append((link.text, link.attributes["href"] or "", list(row.all("td"))[1].text))
    return found


def row_of(name: str, kind: str = "file") -> tuple[str, str, str]:
    entry = ListingEntry(name, "dir" if kind == "dir" else "file", 1)
    (row,) = rows(listing("/x/", ["x"], [entry], parent=False))
    return row


# --- every page -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_well_formed_small_and_has_what_a_page_needs(name: str) -> None:
    page = PAGES[name]
    assert page.startswith(b"<!doctype html>")
    assert len(page) < 8 * 1024
    root = document(page)
    assert root.one("html").attributes["lang"] == "en"
    assert root.one("title").text.strip()
    assert root.one("h1").text.strip()
    assert root.one("main")
    metas = [meta.attributes for meta in root.all("meta")]
    assert {"charset": "utf-8"} in metas
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
    levels = [int(heading.tag[1]) for heading in root.all() if re.fullmatch("h[1-6]", heading.tag)]
    assert levels[0] == 1
    assert all(level <= 2 for level in levels)


@pytest.mark.parametrize("name", PAGES)
def test_no_page_holds_a_script_an_event_handler_an_inline_style_or_anything_from_elsewhere(name: str) -> None:
    root = document(PAGES[name])
    for element in root.all():
        assert element.tag not in {"script", "iframe", "object", "embed", "base"}
        assert element.tag != "form" or name.startswith("login")
        for attribute, value in element.attributes.items():
            assert attribute != "style"
            assert not attribute.startswith("on")
            if attribute in {"href", "src", "action"}:
                assert value is not None
                address = urlsplit(value)
                if element.tag == "a" and name == "landing":
                    assert value == "https://git.example.org/"
                elif element.tag == "link":
                    assert address.scheme == "data"
                else:
                    assert (address.scheme, address.netloc) == ("", "")
    assert "url(" not in root.one("style").text
    assert "@import" not in root.one("style").text


@pytest.mark.parametrize("name", PAGES)
def test_the_policy_allows_exactly_the_style_that_the_page_holds(name: str) -> None:
    digest = hashlib.sha256(document(PAGES[name]).one("style").text.encode()).digest()
    policy = dict(part.split(" ", 1) for part in content_security_policy().split("; "))
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'sha256-{base64.b64encode(digest).decode()}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }


# --- colours ----------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    linear = []
    for place in (1, 3, 5):
        share = int(colour[place : place + 2], 16) / 255
        linear.append(share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4)
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "wash"])
@pytest.mark.parametrize("text", ["ink", "soft", "accent", "alarm", "warn"])
def test_text_has_a_contrast_of_at_least_4_5_in_both_schemes(scheme: str, ground: str, text: str) -> None:
    style = document(PAGES["landing"]).one("style").text
    palettes = re.findall(r":root\{([^}]*)\}|:root \{([^}]*)\}", style)
    assert len(palettes) == 2
    palette = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", "".join(palettes[scheme == "dark"])))
    assert contrast(palette[text], palette[ground]) >= 4.5


def test_the_style_serves_dark_rooms_paper_keyboards_and_people_who_dislike_motion() -> None:
    style = document(PAGES["landing"]).one("style").text
    for needed in ("prefers-color-scheme: dark", "@media print", ":focus-visible", "prefers-reduced-motion"):
        assert needed in style
    assert "outline: none" not in style
    assert set(re.findall(r"var\(--(\w+)\)", style)) <= set(re.findall(r"--(\w+):", style))


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", STATUSES)
def test_each_status_has_words_of_its_own_and_says_its_number_only_in_the_footer(status: int) -> None:
    root = document(error_page(status))
    assert str(status) in root.one("footer").text
    assert str(status) not in root.one("main").text
    others = {document(error_page(other)).one("h1").text for other in STATUSES if other != status}
    assert root.one("h1").text not in others
    assert len(root.one("main").one("p").text if status != 508 else root.one("main").text) > 20


@pytest.mark.parametrize(
    "message", [REPOSITORY_NOT_FOUND, FILE_NOT_FOUND, INVALID_REQUEST, DOMAIN_NOT_CONFIGURED, INVALID_DOMAIN]
)
def test_the_wording_of_the_origin_stands_on_the_page_as_its_heading(message: str) -> None:
    root = document(error_page(404, message=message))
    assert root.one("h1").text == message
    assert message in root.one("title").text


def test_the_messages_are_those_that_users_of_the_origin_know() -> None:
    assert REPOSITORY_NOT_FOUND == "Repository not found or not configured for pages"
    assert FILE_NOT_FOUND == "File not found"
    assert INVALID_REQUEST == "Invalid request format"
    assert DOMAIN_NOT_CONFIGURED == "Custom domain not configured"
    assert INVALID_DOMAIN == "Invalid domain"


def test_what_the_caller_says_is_said_and_code_between_backticks_is_code() -> None:
    page = error_page(
        503, title="Closed", message="Back at `noon`.", hint="See `a` and `b", detail=["x TXT y", ""], host="h.example"
    )
    root = document(page)
    assert root.one("h1").text == "Closed"
    assert root.one("title").text == "Closed · h.example"
    main = root.one("main").text
    assert "Back at noon." in main
    assert "See a and `b" in main
    assert [code.text for code in root.all("code")] == ["noon", "a", "x TXT y"]


def test_only_the_loop_speaks_to_the_administrator() -> None:
    assert "administrator" in document(error_page(508)).one("h2").text
    assert "owner" in document(error_page(404, hint="Do this.")).one("h2").text


def test_a_page_without_a_hint_has_no_empty_box() -> None:
    assert not list(document(error_page(404, message=FILE_NOT_FOUND)).all("aside"))


@pytest.mark.parametrize(
    ("home", "offered"),
    [
        ("/", "/"),
        ("/blog/", "/blog/"),
        ("/caf%C3%A9/", "/caf%C3%A9/"),
        (None, None),
        ("", None),
        ("//evil.example/", None),
        ("/\\evil.example/", None),
        ("/\t/evil.example", None),
        ("/\n", None),
        ("https://evil.example/", None),
        ("javascript:alert(1)", None),
    ],
)
def test_the_way_out_never_leads_to_another_host(home: str | None, offered: str | None) -> None:
    links = [link.attributes["href"] for link in document(error_page(404, home=home)).all("a")]
    assert links == ([] if offered is None else [offered])


def test_a_broken_pages_file_is_named_with_its_line_when_that_is_known() -> None:
    with_line = document(broken_pages_file("alice/blog/.pages", 7, "a list was expected")).one("main").text
    assert "Line 7 of alice/blog/.pages was refused: a list was expected." in with_line
    without = document(broken_pages_file("alice/blog/.pages", None, "it is not UTF-8.")).one("main").text
    assert "alice/blog/.pages was refused: it is not UTF-8. " in without
    assert "None" not in without


def test_too_many_files_names_both_numbers_and_the_option() -> None:
    text = document(too_many_files(123456, 100_000)).one("main").text
    assert "123,456" in text
    assert "100,000" in text
    assert "maxSiteFiles" in text


def test_a_very_long_path_is_cut_and_the_page_stays_small() -> None:
    page = error_page(404, message=FILE_NOT_FOUND, path="/" + "<" * 60_000, detail=["&" * 40] * 1000)
    assert len(page) < 16 * 1024
    assert "…" in document(page).one("footer").text


# --- hostile text -----------------------------------------------------------------------------------------------------

MAKERS: dict[str, Callable[[str], bytes]] = {
    "title": lambda text: error_page(404, title=text),
    "message": lambda text: error_page(404, message=text),
    "hint": lambda text: error_page(404, hint=text),
    "detail": lambda text: error_page(404, detail=[text]),
    "host": lambda text: error_page(404, host=text),
    "path": lambda text: error_page(404, path=text),
    "broken path": lambda text: broken_pages_file(text, 1, "r"),
    "broken reason": lambda text: broken_pages_file("p", 1, text),
    "listing title": lambda text: listing(text, ["x"], [], parent=False),
    "listing host": lambda text: listing("/", ["x"], [], parent=False, host=text),
    "crumb": lambda text: listing("/", [text, "x"], [], parent=False),
    "current crumb": lambda text: listing("/", [text], [], parent=False),
    "name": lambda text: listing("/", ["x"], [ListingEntry(text, "file", 1)], parent=True),
    "folder": lambda text: listing("/", ["x"], [ListingEntry(text, "dir", None)], parent=True),
    "link": lambda text: listing("/", ["x"], [ListingEntry(text, "link", 5)], parent=True),
    "domain": lambda text: landing(text, None),
    "login": lambda text: login(text, alarm="wrong"),
    "logged out": logged_out,
    "unusable password": password_not_usable,
}


@pytest.mark.parametrize("place", MAKERS)
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_changes_no_tag_and_no_attribute_and_is_shown_as_it_is(place: str, text: str) -> None:
    make = MAKERS[place]
    if place in ("message", "hint", "broken path", "broken reason", "unusable password"):
        text = text.replace("`", "")  # those know code between backticks
    hostile, tame = document(make(text)), document(make("tame"))
    assert shape(hostile) == shape(tame)
    assert text in hostile.text
    assert document(make(text)).one("style").text == tame.one("style").text


@given(st.text(max_size=60))
def test_any_message_at_all_leaves_the_page_in_order(text: str) -> None:
    root = document(error_page(404, message=text, hint=text, host=text, path=text, detail=[text]))
    assert root.one("h1").text
    assert all(element.tag in {"p", "aside", "h1", "h2", "ul", "li", "code"} for element in root.one("main").all())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://git.example.org", ("https://git.example.org/", "git.example.org")),
        ("http://git.example.org:3000/forge/", ("http://git.example.org:3000/forge/", "git.example.org:3000/forge")),
        ("https://user:secret@git.example.org/", ("https://git.example.org/", "git.example.org")),
        ("https://git.example.org/?token=secret#secret", ("https://git.example.org/", "git.example.org")),
        ("javascript:alert(1)", None),
        ("javascript://git.example.org/%0aalert(1)", None),
        ("//git.example.org", None),
        ("git.example.org", None),
        ("https://[secret/", None),
        ("https://user:secret@", None),
        ("", None),
        (None, None),
    ],
)
def test_the_landing_page_links_forgejo_and_never_shows_credentials(
    url: str | None, expected: tuple[str, str] | None
) -> None:
    page = landing("pages.example.org", url)
    links = [(link.attributes["href"], link.text) for link in document(page).all("a")]
    assert links == ([expected] if expected else [])
    assert b"secret" not in page


def test_the_landing_page_uses_the_real_names() -> None:
    text = document(landing("pages.example.org:8080", "https://git.example.org")).one("main").text
    for needed in ("you.pages.example.org:8080/blog/", "you.pages.example.org:8080/", ".profile", ".pages", "public"):
        assert needed in text


# --- login ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("login")])
def test_a_login_is_a_form_of_one_labelled_field_that_has_the_focus(name: str) -> None:
    form = document(PAGES[name]).one("form")
    assert (form.attributes["method"] or "").lower() == "post"
    assert "action" not in form.attributes  # to the address that was asked for, query included
    account, field = form.all("input")
    assert (field.attributes["type"], field.attributes["name"]) == ("password", "password")
    assert field.attributes["autocomplete"] == "current-password"
    assert {"required", "autofocus"} <= set(field.attributes)
    assert form.one("label").attributes["for"] == field.attributes["id"]
    assert form.one("label").text == "Password"
    assert (account.attributes["autocomplete"], "hidden" in account.attributes) == ("username", True)
    assert form.one("button").text == "Open"


@pytest.mark.parametrize(
    ("name", "words", "invalid"),
    [
        ("login, wrong", "Incorrect password", True),
        ("login, no form", "Invalid form data", False),
        ("login, wait", "Too many attempts To keep guessers out, the next one is only looked at in 64 seconds.", False),
        ("login, busy", "Please try again in 5 seconds.", False),
    ],
)
def test_the_reason_of_a_refusal_is_announced_and_belongs_to_the_field(name: str, words: str, invalid: bool) -> None:
    root = document(PAGES[name])
    (alarm,) = (element for element in root.all() if element.attributes.get("role") == "alert")
    assert words in alarm.text
    _, field = root.all("input")
    assert field.attributes["aria-describedby"] == alarm.attributes["id"]
    assert ("aria-invalid" in field.attributes) == invalid


def test_a_first_visit_is_not_alarmed() -> None:
    for name in ("login", "login, branch"):
        root = document(PAGES[name])
        assert not [element for element in root.all() if "role" in element.attributes]
        assert "aria-describedby" not in list(root.all("input"))[1].attributes


def test_a_login_has_the_headings_of_the_origin_and_says_for_which_site_it_is() -> None:
    for name, heading in (("login", "Password Protected"), ("login, branch", "Branch Access Protected")):
        root = document(PAGES[name])
        assert root.one("h1").text == heading
        assert root.one("title").text.startswith(f"{heading} · ")
    assert document(PAGES["login"]).one("header").text.strip() == "alice.pages.example.org/blog/"


def test_a_login_says_how_long_it_holds_and_how_to_end_it() -> None:
    footer = document(PAGES["login"]).one("footer")
    assert "for 1 hour." in footer.text
    assert footer.one("a").attributes["href"] == "/.pages/logout"
    assert not list(document(PAGES["login, wrong"]).all("footer"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "1 second"),
        (2, "2 seconds"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (61, "61 seconds"),
        (119, "119 seconds"),
        (121, "3 minutes"),
        (900, "15 minutes"),
        (3600, "1 hour"),
        (5400, "90 minutes"),
        (7201, "3 hours"),
        (86_400, "1 day"),
        (604_800, "7 days"),
    ],
)
def test_times_are_said_in_the_unit_people_think_in_and_never_too_short(seconds: int, text: str) -> None:
    assert time_text(seconds) == text


# --- names in listings ------------------------------------------------------------------------------------------------

NAMES = (
    "plain.html",
    "with space.txt",
    " leading and trailing ",
    "100%.txt",
    "%41.txt",
    "%2e%2e",
    "a#b",
    "a?b=c&d=e",
    'quo"te',
    "quo'te",
    "back\\slash",
    "co:lon",
    "-rf",
    "..hidden",
    "...",
    "~user",
    "semi;colon",
    "plus+plus",
    "a,b=c@d!$()*[]{}|^`",
    "<b>",
    "&amp;",
    "Größe.html",
    "größe.html",
    "日本語",
    "👩‍🚀 and 🏳️‍🌈",
    "שלום.png",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "http:",
    "mailto:a@b",
    "invoice\u202efdp.exe",
    "new\nline",
    "tab\there",
    "nul\x00",
    "x" * 255,
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["file", "dir"])
def test_a_link_leads_to_exactly_that_name_in_this_folder(name: str, kind: str) -> None:
    _, href, _ = row_of(name, kind)
    here = "https://alice.pages.example.org/blog/x/"
    target = urljoin(here, href)
    assert target.startswith(here)
    path = urlsplit(target).path
    assert urlsplit(target)._replace(path="").geturl() == "https://alice.pages.example.org"
    rest = path.removeprefix("/blog/x/")
    assert rest.endswith("/") == (kind == "dir")
    assert unquote_to_bytes(rest.removesuffix("/")).decode() == name


@given(st.text(min_size=1, max_size=40).filter(lambda name: name not in {".", ".."}))
def test_any_name_survives_the_way_to_the_url_and_back(name: str) -> None:
    href = relative_reference(name)
    assert re.fullmatch(r"\./[A-Za-z0-9%._~-]+", href)
    assert unquote_to_bytes(href[2:]).decode() == name


def test_octets_that_are_not_utf_8_come_back_as_they_were_and_a_page_with_them_is_still_utf_8() -> None:
    name = b"caf\xe9.txt".decode("utf-8", "surrogateescape")
    shown, href, _ = row_of(name)
    assert unquote_to_bytes(href[2:]) == b"caf\xe9.txt"
    assert shown == "caf⟨U+DCE9⟩.txt"
    assert row_of("\ud83d.txt")[1] == "./%3F.txt"


@pytest.mark.parametrize("name", [name for name in NAMES if name.isprintable() and "\u202e" not in name])
def test_a_harmless_name_is_shown_letter_by_letter(name: str) -> None:
    assert row_of(name)[0] == name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("invoice\u202efdp.exe", "invoice⟨U+202E⟩fdp.exe"),
        ("a\u2066b\u2069", "a⟨U+2066⟩b⟨U+2069⟩"),
        ("a\u200fb\u200e", "a⟨U+200F⟩b⟨U+200E⟩"),
        ("zero\u200bwidth", "zero⟨U+200B⟩width"),
        ("\ufeffbom", "⟨U+FEFF⟩bom"),
        ("line\u2028end", "line⟨U+2028⟩end"),
        ("a\nb\x1b[31m\x7f\x85", "a⟨U+000A⟩b⟨U+001B⟩[31m⟨U+007F⟩⟨U+0085⟩"),
        ("\U000e0041", "⟨U+E0041⟩"),
        ("\u3164", "⟨U+3164⟩"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("lost \ufffd", "lost \ufffd"),
        ("café – “ok” ½", "café – “ok” ½"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out_everywhere(text: str, shown: str) -> None:
    assert visible_text(text) == shown
    for place, make in MAKERS.items():
        page = document(make(text)).text
        assert shown in page, place
        assert text == shown or text not in page, place


def test_every_name_is_isolated_so_that_it_cannot_reorder_its_neighbours() -> None:
    root = document(listing("/", ["שלום", "x"], [ListingEntry("שלום", "file", 1)], parent=False))
    assert [bdi.text for bdi in root.one("main").all("bdi")] == ["שלום", "x", "שלום"]


def test_folders_come_first_and_numbers_count_as_numbers() -> None:
    names = ["b10", "b9", "B1", "a", "x002", "x2", "x02", "v1.10", "v1.9", "9" * 5000, "1" + "0" * 5000, "é", "z"]
    entries = [ListingEntry(name, "file", 1) for name in names]
    entries += [ListingEntry("zz", "dir", None), ListingEntry("z10", "dir", None), ListingEntry("z9", "dir", None)]
    entries.append(ListingEntry("aa", "link", None))
    shown = [name for name, _, _ in rows(listing("/", ["x"], entries, parent=False))]
    assert shown[:3] == ["z9/", "z10/", "zz/"]
    assert shown[3:5] == ["9" * 5000, "1" + "0" * 5000]
    assert shown[5:] == ["a", "aa", "B1", "b9", "b10", "v1.9", "v1.10", "x002", "x02", "x2", "z", "é"]


@given(st.lists(st.text(max_size=8)))
def test_the_order_of_a_listing_does_not_depend_on_the_order_it_came_in(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural_order) == sorted(backwards, key=natural_order)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KB"),
        (1536, "1.5 KB"),
        (1024**2 - 1, "1024.0 KB"),
        (1024**2, "1.0 MB"),
        (5 * 1024**2 + 512 * 1024, "5.5 MB"),
        (1024**3, "1.0 GB"),
        (2048 * 1024**3, "2048.0 GB"),
    ],
)
def test_sizes_read_as_in_the_origin(size: int, text: str) -> None:
    assert size_text(size) == text
    assert rows(listing("/", ["x"], [ListingEntry("f", "file", size)], parent=False))[0][2] == text


def test_only_files_have_a_size_and_links_are_called_links() -> None:
    entries = [ListingEntry("d", "dir", 4096), ListingEntry("f", "file", None), ListingEntry("l", "link", 9)]
    assert [row[2] for row in rows(listing("/", ["x"], entries, parent=False))] == ["", "", "link"]


@pytest.mark.parametrize(
    ("crumbs", "expected"),
    [
        (["blog"], []),
        (["blog", "a"], ["https://h.example/blog/"]),
        (["blog", "a", "b c"], ["https://h.example/blog/", "https://h.example/blog/a/"]),
    ],
)
def test_each_breadcrumb_leads_to_its_folder(crumbs: list[str], expected: list[str]) -> None:
    here = "https://h.example/" + "".join(f"{relative_reference(crumb)[2:]}/" for crumb in crumbs)
    root = document(listing("/" + "/".join(crumbs), crumbs, [], parent=False))
    assert [urljoin(here, link.attributes["href"] or "") for link in root.one("nav").all("a")] == expected
    (current,) = (bdi for bdi in root.one("nav").all("bdi") if "aria-current" in bdi.attributes)
    assert current.text == crumbs[-1]


def test_of_a_folder_far_down_the_nearest_above_are_named() -> None:
    """All of them, each with its `../`, would be megabytes where a path has two thousand parts."""
    crumbs = [f"f{number}" for number in range(2000)]
    page = listing("/" + "/".join(crumbs), crumbs, [], parent=True)
    links = list(document(page).one("nav").all("a"))
    assert [(link.text, link.attributes["href"]) for link in links[-2:]] == [("f1997", "../../"), ("f1998", "../")]
    assert len(page) < 60_000


@pytest.mark.parametrize("parent", [True, False])
def test_the_parent_folder_is_offered_where_there_is_one(parent: bool) -> None:
    for entries in ([], [ListingEntry("f", "file", 1)]):
        page = document(listing("/a/", ["x", "a"], entries, parent=parent))
        assert (
            "../" in [link.attributes["href"] for link in page.one("main").all("a") if link.text == "Parent folder"]
        ) == parent


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("name", ["a", "b", "1.txt", "9.txt", "10.txt"]),
        ("-name", ["b", "a", "10.txt", "9.txt", "1.txt"]),
        ("size", ["a", "b", "9.txt", "1.txt", "10.txt"]),
        ("-size", ["a", "b", "1.txt", "10.txt", "9.txt"]),
    ],
)
def test_a_listing_sorts_by_name_and_size_with_folders_first(sort: Sort, names: list[str]) -> None:
    sizes = {"1.txt": 70, "9.txt": 3, "10.txt": 70}
    entries = [ListingEntry(name, "dir" if name in "ab" else "file", sizes.get(name)) for name in reversed(names)]
    page = listing("/", ["x"], entries, parent=False, sort=sort, page=2, pages=3)
    assert [name.removesuffix("/") for name, _, _ in rows(page)] == names
    heads = list(document(page).one("thead").all("th"))
    said = [each.attributes.get("aria-sort") for each in heads]
    assert (
        said
        == {
            "name": ["ascending", None],
            "-name": ["descending", None],
            "size": [None, "ascending"],
            "-size": [None, "descending"],
        }[sort]
    )
    # A second look at the column turns it round, and the pages keep the order.
    turned = [each.one("a").attributes["href"] for each in heads]
    assert turned == ["?sort=-name" if sort == "name" else "./", "?sort=size" if sort == "-size" else "?sort=-size"]
    query = "?" if sort == "name" else f"?sort={sort}&"
    (way,) = (each for each in document(page).all("nav") if each.attributes.get("class") == "pages")
    assert [link.attributes["href"] for link in way.all("a")] == [f"{query}page=1", f"{query}page=3"]


def test_a_listing_says_of_when_the_site_is() -> None:
    page = listing("/", ["x"], [ListingEntry("a", "file", 1)], parent=False, modified=1_795_810_499.9)
    assert document(page).one("time").attributes["datetime"] == "2026-11-27T20:14:59+00:00"
    assert document(page).one("time").text == "27 November 2026"


@pytest.mark.parametrize(
    ("folders", "files", "text"),
    [
        (0, 0, "This folder is empty."),
        (1, 0, "1 folder"),
        (0, 1, "1 file"),
        (2, 1, "2 folders, 1 file"),
        (1, 2, "1 folder, 2 files"),
    ],
)
def test_a_listing_counts_what_it_shows(folders: int, files: int, text: str) -> None:
    entries = [ListingEntry(f"d{n}", "dir", None) for n in range(folders)]
    entries += [ListingEntry(f"f{n}", "file", n) for n in range(files)]
    (count,) = (
        p for p in document(listing("/", ["x"], entries, parent=False)).all("p") if p.attributes.get("class") == "count"
    )
    assert count.text == text


# --- work -------------------------------------------------------------------------------------------------------------


def calls_made(work: Callable[[], object]) -> int:
    """How many functions, Python's and C's, a piece of work calls: the same on every machine."""
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def test_a_listing_takes_the_same_few_calls_for_each_entry_however_many_there_are() -> None:
    def of(count: int) -> int:
        entries = [ListingEntry(f"file {n} ä.html", "file", n * 77) for n in range(count)]
        return calls_made(lambda: listing("/x/", ["x"], entries, parent=True))

    small, large = of(1_000), of(10_000)
    assert large / 10_000 < 160  # a good third of them, one for each letter, is `quote` and is C
    assert large < 10.5 * small


def test_templates_are_compiled_once_and_escape_whatever_the_caller_does(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = templates._ENVIRONMENT
    assert environment.autoescape is True

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a template was compiled while answering")

    monkeypatch.setattr(type(environment), "compile", refused)
    assert error_page(404)
    assert listing("/", ["x"], [], parent=False)
    assert landing("pages.example.org", None)
