# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The `.pages` file: what owners write, what they get wrong, and what somebody may write to hurt."""

import gc
import time
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from addon.sites.pages_file import MAX_BYTES, PagesFile, PagesFileError, parse
from addon.sites.preview_rules import PreviewRules, matches
from tests.cases import by_first

HASH = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def parsed(data: bytes) -> PagesFile | PagesFileError:
    try:
        return parse(data)
    except PagesFileError as error:
        return error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", PagesFile()),
        ("# only a comment\n", PagesFile()),
        ("---\n", PagesFile()),
        # A closing `---`, as front matter has it, begins a document with nothing in it.
        ("---\nenabled: false\n---\n", PagesFile(enabled=False)),
        ("enabled: false\n---\n\n# comment\n---", PagesFile(enabled=False)),
        ("~\n", PagesFile()),
        ("{}", PagesFile()),
        ("enabled: true\n", PagesFile(enabled=True)),
        ("enabled: false\n", PagesFile(enabled=False)),
        ("\ufeffenabled: false\r\n", PagesFile(enabled=False)),
        ("{enabled: no, directory_index: on}", PagesFile(enabled=False, directory_index=True)),
        ("enabled:\n", PagesFile()),
        ("directory_index: yes # shown\n", PagesFile(directory_index=True)),
        ("publish_private: true", PagesFile(publish_private=True)),
        ("access: members", PagesFile(members=True)),
        ("access: Members", PagesFile(members=True)),
        ("custom_domain: example.com  # Optional\n", PagesFile(custom_domains=("example.com",))),
        ("custom_domain: 'example.com'", PagesFile(custom_domains=("example.com",))),
        ("custom_domain: [a.example, \"b.example\"]", PagesFile(custom_domains=("a.example", "b.example"))),
        ("custom_domain:\n- a.example\n- a.example\n", PagesFile(custom_domains=("a.example",))),
        ("custom_domain:", PagesFile()),
        ("enable_branches: []", PagesFile()),
        ("enable_branches: # comment\n  - dev\n  - feature/x\n", PagesFile(enable_branches=("dev", "feature/x"))),
        # What looks like another type stays the name it is.
        ("enable_branches: [1.10, on, 2026-01-01, 0x10, 007]",
         PagesFile(enable_branches=("1.10", "on", "2026-01-01", "0x10", "007"))),
        ("enable_branches: [~, null, '', 'null', \"~\"]", PagesFile(enable_branches=("null", "~"))),
        (f"password: {HASH}", PagesFile(password=HASH)),
        ("password: 0123456789", PagesFile(password="0123456789")),
        ("password: 1e5", PagesFile(password="1e5")),
        (f"branchesPassword: '{HASH}'", PagesFile(branches_password=HASH)),
        ("password: !!python/object/apply:os.system [x]", None),
        ("password: !!binary eA==", PagesFile(password="eA==")),
        ("password: &anchor x", PagesFile(password="x")),
    ],
)  # fmt: skip
def test_a_file_says_what_its_owner_means(text: str, expected: PagesFile | None) -> None:
    if expected is None:
        with pytest.raises(PagesFileError):
            parse(text.encode())
    else:
        assert parse(text.encode()) == expected


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        *((word, True) for word in ("true", "True", "TRUE", "yes", "Yes", "on", "ON", "'true'", '"yes"', "!!str yes")),
        *((word, False) for word in ("false", "False", "no", "NO", "off", "'off'")),
    ],
)
def test_booleans_are_what_yaml_1_1_and_the_origin_call_booleans(word: str, meant: bool) -> None:
    found = parse(f"enabled: {word}\ndirectory_index: {word}\npublish_private: {word}\n".encode())
    assert (found.enabled, found.directory_index, found.publish_private) == (meant, meant, meant)


@pytest.mark.parametrize("word", ["maybe", "1", "2", "tru", "[true]", "{a: b}", "'true false'", "yes!"])
def test_what_is_no_boolean_is_an_error_and_not_a_guess(word: str) -> None:
    with pytest.raises(PagesFileError, match=r"line 2: enabled: expected true or false"):
        parse(f"\nenabled: {word}\n".encode())


def test_of_a_name_given_twice_the_last_counts_and_is_warned_about() -> None:
    found = parse(b"enabled: false\ndirectory_index: true\nenabled: true\n")
    assert found.enabled
    assert found.warnings == ("line 3: enabled is given more than once; this one counts",)


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("custom_domains: x", "line 1: unknown name; did you mean custom_domain?"),
        ("Enabled: true", "line 1: unknown name; did you mean enabled?"),
        ("disabled: false", "line 1: unknown name"),
        ("colour: blue", "line 1: unknown name"),
        ("theme: {dark: [1, {2: 3}], x: y}", "line 1: unknown name"),
        ("? x\n: - - a\n  - {}", "line 1: unknown name"),
        (": x", "line 1: unknown name"),
    ],
)
def test_names_that_nobody_knows_are_warnings_and_hide_nothing_after_them(line: str, warning: str) -> None:
    found = parse(f"{line}\ncustom_domain: a.example\n".encode())
    assert found.warnings == (warning,)
    assert found.custom_domains == ("a.example",)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("access: all", 1),
        ("access:", 1),
        ("access: [members]", 1),
        ("enabled: true\naccess: member", 2),
        ("Access: members", 1),
        ("acess: x", 1),
        ("readers: members", 1),
        ("pages:\n  access: members", 2),
        ("access: members\naccess: everybody", 2),
        ("Password: x", 1),
        ("pasword: x", 1),
        ("passwort: x", 1),
        ("password_of_all_that_is_shown_here: x", 1),
        ("passwd: x", 1),
        ("enabled: true\npass: x", 2),
        ("pass_word: x", 1),
        ("site-password: x", 1),
        ("passwords: [x]", 1),
        ("branches_password: x", 1),
        ("branchPassword: x", 1),
        ("pages:\n  password: x", 2),
        ("pages:\n- a: [b]\n  Password: x", 3),
        ("a: {b: {c: d}, password: x}", 1),
        # A second document, even after an empty one, is not simply left unread.
        ("---\n---\npassword: x", 2),
        ("~\n---\npassword: x", 2),
        ("enabled: true\n---\npassword: x", 2),
        ("enabled: true\n---\n---\npassword: x", 3),
        ("enabled: true\n---\n- password", 2),
        ("enabled: true\n---\n~", 2),
        ("enabled: true\n...\npassword: x", 3),
        ("password: x\nenabled: true\npassword:", 3),
        ("password: x\npassword: ' '", 2),
        ("branchesPassword: x\nbranchesPassword: ~", 2),
        # Nor is a file that is broken elsewhere.
        ("enabled: true\n  password: x", 2),
        ("enabled: true\npassword: 'x", 2),
        ("password: [x]", 1),
        ("password: {x: y}", 1),
        ("enabled: true\n\tpassword: x", 2),
    ],
)
def test_a_password_in_the_wrong_place_or_form_never_leaves_the_site_open(text: str, line: int) -> None:
    with pytest.raises(PagesFileError) as caught:
        parse(text.encode())
    assert caught.value.line is not None
    assert line <= caught.value.line <= text.count("\n") + 1


def test_a_value_may_be_the_word_password_where_it_names_nothing() -> None:
    assert parse(b"tags: [password]\nnote: {kind: password}\n").password == ""


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"just text", 1, "expected lines of the form `key: value`"),
        (b"- a\n- b\n", 1, "expected lines of the form `key: value`"),
        (b"\n[a]: b", 2, "expected a name before the colon"),
        (b"a: &x 1\nb: *x\n", 2, "aliases (*name) are not allowed"),
        (b"a: &x {b: *x}\n", 1, "aliases (*name) are not allowed"),
        (b"a: 1\n*x : b\n", 2, "aliases (*name) are not allowed"),
        (b"enabled: true\ncustom_domain: \xff\n", 2, "the file is not UTF-8"),
        (b"enabled: true\nx: \0\n", 2, "a character that YAML forbids"),
        (b"\ncustom_domain: {a: b}\n", 2, "custom_domain: expected one name or a list of names"),
        (b"enable_branches:\n- a\n- [b]\n", 3, "enable_branches: expected one name or a list of names"),
        (b'custom_domain: "\\uD800"', 1, "an escape that is no character"),
        (b"enable_branches: [" + b"a," * 1001 + b"]", 1, "enable_branches: more than 1000 items"),
        (b"enabled: true\n  custom_domain: [\n", 2, "mapping values are not allowed here"),
        (b"enabled:\ttrue\n\tx: y", 1, "a tab stands here, where only spaces may; indent with spaces"),
        (b"enabled: @x", 1, "found character … that cannot start any token"),
        (b"custom_domain: [a, b\n", 2, "expected ',' or ']', but got '<stream end>'"),
        (b'password: "\\UFFFFFFFF"', None, "the file is not valid YAML"),
        (b"#" * (MAX_BYTES + 1), None, "the file is larger than 64 KiB"),
    ],
)
def test_an_error_names_line_and_reason(data: bytes, line: int | None, reason: str) -> None:
    with pytest.raises(PagesFileError) as caught:
        parse(data)
    assert (caught.value.line, caught.value.reason) == (line, reason)
    assert str(caught.value) == (f"line {line}: {reason}" if line else reason)


@pytest.mark.parametrize(
    "form",
    [
        *(
            "password: {}",
            "password: '{}",
            "{}: x: y",
            "enabled: {}",
            "password: [{}]",
            "? {} : [",
            "&{} *{}",
            "a: *{}",
        ),
        *("!{}!x y", "%TAG !{}! a\n%TAG !{}! a\n--- x", "{}", "[{}]: 1", "custom_domain: [[{}]]", "{}: 1", "{}: [*x]"),
        *('password: "\\{}"', "password: |{}", "%YAML {}\n---\n", "%{}", "x: @{}", "x: '{}' '{}'", "- {}", "x: }{}"),
    ],
)
def test_no_message_shows_the_files_text(form: str) -> None:
    found = parsed(form.replace("{}", "Zq7hunter2Zq7").encode())
    shown = f"{found} {found!r}"
    if isinstance(found, PagesFile):
        shown += "".join(found.warnings)
    assert "hunter2" not in shown
    assert "Zq7" not in shown


PIECES = st.sampled_from(
    [
        *(
            "enabled",
            "password",
            "custom_domain",
            "enable_branches",
            "x",
            ":",
            ": ",
            "\n",
            "\n  ",
            "- ",
            "? ",
            "[",
            "]",
        ),
        *(
            "{",
            "}",
            ",",
            "'",
            '"',
            "\\",
            "#",
            " #",
            "&a ",
            "*a",
            "!",
            "!!",
            "!<",
            "%",
            "%YAML 1.1\n",
            "%TAG ! x\n",
            "---",
        ),
        *(
            "\n---\n",
            "...",
            "|\n",
            ">-\n",
            "|9\n",
            "<<: ",
            "~",
            "true",
            "no",
            "\t",
            "\r",
            "\u2028",
            "\x85",
            "\ufeff",
            "\0",
        ),
        *(
            '"\\x',
            '"\\UFFFFFFFF"',
            '"\\ud800"',
            "@",
            "`",
            "é",
            "\U0001f600",
            "=",
            "0x",
            "1e9999",
            "!!int ",
            "!!binary ",
        ),
    ]
)


@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")),
        st.lists(PIECES, max_size=25).map(lambda pieces: "".join(pieces).encode()),
    )
)
@example(b"%YAML 9.9\n---\na: b")
@example(b'"\\UFFFFFFFF"')
@example(b"\xef\xbb\xbf\xef\xbb\xbf")
def test_no_bytes_raise_anything_but_the_documented_error(data: bytes) -> None:
    found = parsed(data)
    if isinstance(found, PagesFile):
        for text in (*found.custom_domains, *found.enable_branches, *found.warnings, found.password):
            text.encode()
    else:
        assert found.line is None or 1 <= found.line <= len(data.decode("utf-8", "replace").splitlines()) + 1
        assert found.reason.strip()
        assert "\n" not in found.reason


@pytest.mark.parametrize(
    "data",
    [
        b"x: " + b"[" * 60_000,
        b"x: " + b"[" * 30_000 + b"]" * 30_000,
        b"x: " + b"{a: " * 15_000,
        b"x:\n " + b"- " * 32_000,
        b": " * 32_000,
        b"? " * 32_000,
        b"a:\n" * 21_000,
        b"x: &a 1\n" * 8_000,
        b"enabled: true\n" * 4_600,
        b"".join(b"enable%d:\n" % number for number in range(5_500)),
        b"enable_branches: [" + b"a," * 32_000 + b"]",
        b"".join(b'%d: "\\\n' % number for number in range(5_000)),
    ],
    ids=lambda data: data[:14].decode(),
)
def test_a_hostile_file_costs_little_and_is_refused(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises(PagesFileError):
        parse(data[:MAX_BYTES])
    # A tenth of this here; without its limits the first of them takes 50 s.
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "data", [b"#\n" * 32_000, b"\n" * MAX_BYTES, b"x: |\n" + b" a\n" * 21_000, b"enabled: " + b" " * 65_000]
)
def test_a_long_file_that_says_little_is_read(data: bytes) -> None:
    assert parse(data).enabled


def test_warnings_are_few_however_many_there_are_to_give() -> None:
    found = parse(b"".join(b"colour%d: x\n" % number for number in range(1_000)))
    assert len(found.warnings) == 21
    assert found.warnings[-1] == "and 980 more like these"


def test_a_misspelt_password_is_found_behind_any_number_of_warnings() -> None:
    with pytest.raises(PagesFileError, match=r"line 1001: unknown name; did you mean password\?"):
        parse(b"".join(b"colour%d: x\n" % number for number in range(1_000)) + b"passwort: x\n")


def test_it_counts_what_it_takes_in_memory() -> None:
    data = b"".join(b"colour%d: x\n" % n for n in range(99)) + b"custom_domain: [%s]" % b",".join(
        b"%d.example.org" % number for number in range(1_000)
    )  # fmt: skip
    parse(data)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    found = parse(data)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert taken * 0.8 < found.nbytes < taken * 1.5
    assert parse(b"").nbytes < 1_000


@pytest.mark.parametrize(
    "text",
    [
        "Enabled: false",
        "enable: false",
        "ENABLED: no",
        "enabled_: off",
        "enabeld: false",
        "disabled: true",
        "disable: true",
        "Disabled: yes",
        "disabled:",
        "enable:",
        "enable: [false]",
        "enable: nope",
    ],
)
def test_a_site_that_its_owner_meant_to_take_down_is_not_served(text: str) -> None:
    with pytest.raises(PagesFileError, match=r"line 2: unknown name; did you mean enabled: false\?"):
        parse(f"custom_domain: www.example.org\n{text}\n".encode())


@pytest.mark.parametrize("text", ["Enable: true", "disabled: false", "disable: no", "enable_branch: dev"])
def test_what_takes_nothing_down_is_a_warning(text: str) -> None:
    assert parse(text.encode()).enabled
    assert len(parse(text.encode()).warnings) == 1


PREVIEWS = [
    ("branches: all", PreviewRules(branches=("*",))),
    ("branches: [main, 'feature/*', main]", PreviewRules(branches=("main", "feature/*"))),
    ("branches: staging", PreviewRules(branches=("staging",))),
    ("branches: no", PreviewRules()),
    ("commits: yes", PreviewRules(commits=True)),
    ("pulls: own", PreviewRules(pulls="own")),
    ("pulls: All", PreviewRules(pulls="all")),
    ("pulls: false", PreviewRules()),
    ("banner: true", PreviewRules(banner="This is a preview.")),
    ("banner: Look!", PreviewRules(banner="Look!")),
    ("banner: off", PreviewRules()),
]


@pytest.mark.parametrize(("line", "meant"), PREVIEWS, ids=[line for line, _ in PREVIEWS])
def test_previews_are_what_they_say_and_none_by_themselves(line: str, meant: PreviewRules) -> None:
    assert parse(f"previews:\n  {line}\n".encode()).previews == meant
    assert parse(b"enabled: true\n").previews == PreviewRules()
    assert not PreviewRules(banner="x").any


BROKEN_PREVIEWS = [
    ("previews: all", 1),
    ("previews: [branches]", 1),
    ("previews:\n  pulls: everybody", 2),
    ("previews:\n  pulls: [own]", 2),
    ("previews:\n  commits: some", 2),
    ("previews:\n  branches: {a: b}", 2),
    ("previews:\n  branches: [[a]]", 2),
    ("previews:\n  banner: [x]", 2),
    (f"previews:\n  banner: {'x' * 201}", 2),
    (f"previews:\n  branches: [{', '.join(f'b{number}' for number in range(51))}]", 2),
    ("previews:\n  branches: all\n  password: x", 3),
]


@pytest.mark.parametrize(("text", "line"), BROKEN_PREVIEWS)
def test_previews_that_cannot_be_are_an_error_with_its_line(text: str, line: int) -> None:
    with pytest.raises(PagesFileError) as caught:
        parse(text.encode())
    assert caught.value.line == line


def test_a_misspelt_name_in_previews_opens_nothing_and_is_a_warning() -> None:
    found = parse(b"previews:\n  pull: all\n  commits: true\n  commits: false\n")
    assert not found.previews.any
    assert found.warnings == (
        "line 2: unknown name in previews; did you mean pulls?",
        "line 4: commits is given more than once; this one counts",
    )


MATCHES = by_first(
    {
        "*": {"a/b": True},
        "feature/*": {"feature/a/b": True, "feature": False},
        "*-fix": {"a-fix": True, "fix": False},
        "a*b*c": {"abc": True, "axbxc": True, "acb": False},
        "ab*ba": {"aba": False},
        "main": {"Main": False, "main": True},
        "a?c": {"abc": False},
    }
)


@pytest.mark.parametrize(("pattern", "branch", "expected"), MATCHES)
def test_a_star_is_any_text_and_nothing_else_is_special(pattern: str, branch: str, expected: bool) -> None:
    assert matches(pattern, branch) is expected
