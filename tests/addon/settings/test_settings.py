# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""The settings file as its writer meets it: its shapes, what is said when it is wrong, and the sample in `config/`.

The sample file is held against the table of options in both directions: each option is in it, under the help's own
words, with the default that it really has.
"""

import re
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from addon.settings.schema import ListenAddress, Settings, SettingsError, load
from tests.addon.settings.settings_cases import BASE, HOME, OPTIONS, REQUIRED, REQUIRED_YAML, loaded, made, problems
from tests.addon.settings.test_values import REFUSED, TAKEN

SAMPLE = Path(__file__).parents[3] / "config" / "pages.yaml"

# --- files ------------------------------------------------------------------------------------------------------------

PLUGIN = """\
http:
  routers:
    pages: {rule: "HostRegexp(`.+`)", middlewares: [pages-server]}
  middlewares:
    compress:
      compress: {}
    other:
      plugin:
        other: {key: value}
    pages-server:
      plugin:
        pages-server:
          pagesDomain: "pages.example.org"
          forgejoHost: https://git.example.org
          forgejoToken: ""
          redisHost: redis
          redisPort: "6380"
          redisPoolSize: 5
          cacheTTL: '600'
          enableCustomDomains: "false"
          maxRedirects: 30
"""


PLUGIN_WITHOUT_HTTP = textwrap.dedent(PLUGIN[PLUGIN.index("  middlewares:\n") :])


@pytest.mark.parametrize("text", [PLUGIN, PLUGIN_WITHOUT_HTTP], ids=["http", "middlewares"])
def test_a_block_out_of_a_traefik_file_works_as_it_is(text: str, tmp_path: Path) -> None:
    settings = loaded(tmp_path, text)
    assert settings.pages_domain == "pages.example.org"
    assert (settings.redis_host, settings.redis_port, settings.redis_pool_size) == ("redis", 6380, 5)
    assert (settings.cache_ttl, settings.enable_custom_domains, settings.forgejo_token) == (600, False, None)
    assert (settings.max_redirects, settings.not_used_yet) == (30, ())
    assert settings.warnings == ()


def test_a_traefik_file_in_json_works_as_it_is(tmp_path: Path) -> None:
    block = '{"pagesDomain": "p.example", "forgejoHost": "http://f", "redisPort": 1, "enableCustomDomains": false}'
    settings = loaded(tmp_path, f'{{"http": {{"middlewares": {{"x": {{"plugin": {{"y": {block}}}}}}}}}}}')
    assert (settings.pages_domain, settings.redis_port, settings.enable_custom_domains) == ("p.example", 1, False)


def test_our_options_may_stand_beside_a_traefik_block(tmp_path: Path) -> None:
    settings = loaded(tmp_path, f"listen: :80\n{PLUGIN}workers: 4\ntls:\n  options: {{}}\n")
    assert (settings.listen, settings.workers) == ((ListenAddress("", 80),), 4)
    (warning,) = settings.warnings
    assert "tls is Traefik's own" in warning


def test_the_top_level_counts_where_no_plugin_has_our_options(tmp_path: Path) -> None:
    settings = loaded(tmp_path, f"{REQUIRED_YAML}http: {{middlewares: {{a: {{plugin: {{b: {{c: d}}}}}}}}}}")
    assert settings.pages_domain == "pages.example.org"
    assert "only the top level counts" in settings.warnings[0]


def test_anchors_and_merged_keys_work_as_in_traefik(tmp_path: Path) -> None:
    text = """
http:
  x-base: &base {workers: 2, maxRedirects: 3}
  middlewares:
    a:
      plugin:
        b: {<<: *base, pagesDomain: p.example, forgejoHost: "http://f", workers: 9}
"""
    settings = loaded(tmp_path, text)
    assert (settings.workers, settings.max_redirects) == (9, 3)


TRAEFIK_WITHOUT_US = "http: {middlewares: {a: {plugin: {b: {c: d}}}}}\n"
HALF_A_BLOCK = "http: {middlewares: {a: {plugin: {b: {pagesDomain: p.example}}}}}"

FILES: list[tuple[str | bytes, str]] = [
    ("", "is empty: expected at least pagesDomain and forgejoHost"),
    ("# nothing\n", "is empty: expected at least pagesDomain and forgejoHost"),
    ("~", "is empty: expected at least pagesDomain and forgejoHost"),
    ("- a\n", "1:1: expected options such as `pagesDomain: pages.example.org`, found a list"),
    ("\nabc\n", "2:1: expected options such as `pagesDomain: pages.example.org`, found a text"),
    (b"a: 1\nb: \xe9", "2:4: is not UTF-8 text: save it as UTF-8"),
    ("a: 1".encode("utf-16"), "1:1: is not UTF-8 text: save it as UTF-8"),
    (b"#" * (1024 * 1024 + 1), "larger than 1 MiB: this is no settings file"),
    ("a:\n\tb: 1", "2:1: is not valid YAML: a tab stands here, where only spaces may; indent with spaces"),
    ("a: 1\nb: \7", "2:4: is not valid YAML: a control character stands here"),
    (
        "a: 1\n---\nb: 2",
        "2:1: is not valid YAML: a second document begins here; only one is read, so take out the `---`",
    ),
    ("listen: [a", "1:11: is not valid YAML: the file ends within something that was opened, such as [ or {"),
    ("a: 1\nb: 'x\ny: 2\n", "2:4: is not valid YAML: the quote that begins here has no end"),
    ("  a: 1\nb: 2", "2:1: is not valid YAML: this belongs to nothing above it; check the indentation"),
    ("a: 1\n- b", "2:1: is not valid YAML: this belongs to nothing above it; check the indentation"),
    ("a: 1\nb\nc: 2", "3:1: is not valid YAML: expected `name: value`"),
    ('a: "\\Uffffffff"', "is not valid YAML: it cannot be understood"),
    ("[" * 20_000, "is nested too deeply"),
    (
        f"{REQUIRED_YAML}  workers: 1",
        "3:10: is not valid YAML: a colon too many, or wrong indentation; put a text that holds `: ` in quotes",
    ),
    (f"{REQUIRED_YAML}workers: 1\n\nworkers: 2", "5:1: workers: is given twice, first in line 3: keep one of the two"),
    (f"{REQUIRED_YAML}? [a]\n: b", "3:3: expected the name of an option, found a list"),
    (f"{REQUIRED_YAML}~: b", "3:1: expected the name of an option, found nothing"),
    (f"{REQUIRED_YAML}chacheTTL: 3", "3:1: chacheTTL: is not an option; did you mean cacheTTL?"),
    (f"{REQUIRED_YAML}cachettl: 3", "3:1: cachettl: is not an option; write cacheTTL"),
    (f"{REQUIRED_YAML}cache_ttl: 3", "3:1: cache_ttl: is not an option; write cacheTTL"),
    (
        f"{REQUIRED_YAML}redisHostFile: x",
        "3:1: redisHostFile: is not an option; only a secret can be given as a file; write redisHost",
    ),
    (f"{REQUIRED_YAML}'x y': 3", "3:1: 'x y': is not an option; config/pages.yaml lists them all"),
    (f"{REQUIRED_YAML}<<: 3", "3:5: `<<` merges a mapping, or a list of mappings"),
    (
        f"{TRAEFIK_WITHOUT_US}workers: 4",
        "1:1: expected a plugin block with pagesDomain (http: middlewares: NAME: plugin: NAME: …), found none",
    ),
    (f"{REQUIRED_YAML}http: 3", "3:7: http: expected a mapping, as in Traefik's files"),
    (
        f"pagesDomain: a.example\n{PLUGIN}",
        "14:11: pagesDomain: is given twice, also in line 1: keep one of the two",
    ),
    (
        PLUGIN.replace("6380", "x"),
        "17:11: redisPort: expected a whole number from 1 to 65535, found 'x'",
    ),
    (HALF_A_BLOCK, "1:35: forgejoHost: is required: the address at which this server reaches Forgejo"),
]


@pytest.mark.parametrize(("text", "expected"), FILES)
def test_a_file_that_cannot_be_used_says_where_and_why(text: str | bytes, expected: str, tmp_path: Path) -> None:
    assert problems(tmp_path, text) == [expected]


def test_two_plugin_blocks_are_refused_with_their_places(tmp_path: Path) -> None:
    second = PLUGIN[PLUGIN.index("    pages-server:\n") :].replace("pages-server", "second")
    (message,) = problems(tmp_path, PLUGIN + second)
    where = "24:9: 2 plugin blocks have pagesDomain (pages-server in line 12, second in line 24)"
    assert message == f"{where}: keep one, or put each into a file of its own"


def test_one_block_named_twice_by_an_alias_is_one(tmp_path: Path) -> None:
    block = "{plugin: {b: {pagesDomain: p.example, forgejoHost: 'http://f'}}}"
    assert loaded(tmp_path, f"http: {{middlewares: {{a: &a {block}, c: *a}}}}").pages_domain == "p.example"


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "pagesDomain: a b\nworkers: -1\nredisPoolSize: 99\nlogLevl: info\ntrustedProxies: [10.0.0.1/8]\n"
    lines = problems(tmp_path, f"{text}forgejoToken: ${{T}}\n")
    assert lines[0].startswith("forgejoHost: is required")
    expected = ["1:1: pagesDomain", "2:1: workers", "3:1: redisPoolSize", "4:1: logLevl", "5:1: trustedProxies"]
    assert [line[: line.index(": ", 5)] for line in lines[1:]] == [*expected, "6:1: forgejoToken"]


@pytest.mark.parametrize("name", ["missing.yaml", ".", "a\0b", "a\nb", "pages.yaml/x"])
def test_a_file_that_cannot_be_read_is_said_in_one_line(name: str, tmp_path: Path) -> None:
    loaded(tmp_path, REQUIRED_YAML)
    with pytest.raises(SettingsError, match="cannot be read: ") as caught:
        load(tmp_path / name, environ=HOME)
    assert "\n" not in str(caught.value)


def test_relative_paths_begin_at_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "ca.pem").write_text("")
    monkeypatch.chdir(tmp_path)
    settings = loaded(Path("etc"), f"{REQUIRED_YAML}forgejoCAFile: ../ca.pem\nstateDir: state\n")
    assert settings.state_dir == tmp_path / "etc" / "state"
    assert settings.forgejo_ca_file is not None
    assert settings.forgejo_ca_file.samefile(tmp_path / "ca.pem")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    assert (
        loaded(tmp_path, b"\xef\xbb\xbf" + REQUIRED_YAML.replace("\n", "\r\n").encode()).pages_domain
        == "pages.example.org"
    )


# --- the sample file --------------------------------------------------------------------------------------------------


def test_the_sample_file_loads_as_it_is() -> None:
    settings = load(SAMPLE, environ=HOME)
    assert settings == made()


def test_the_sample_file_has_every_option_once_with_its_default(tmp_path: Path) -> None:
    text = SAMPLE.read_text()
    names = re.findall(r"^#?([A-Za-z0-9]+):", text, re.M)
    assert sorted(names) == sorted(OPTIONS)
    everything = loaded(tmp_path, re.sub(r"^#([A-Za-z0-9]+:)", r"\1", text, flags=re.M))
    assert replace(everything, not_used_yet=()) == made()
    empty = {name for name in names if re.search(rf'^#{name}: ""$', text, re.M)}
    for name in empty:  # an empty text says "not set", so that is what the default must be
        assert getattr(made(), OPTIONS[name][0]) is None or name == "stateDir"


def test_the_sample_file_explains_each_option_in_the_words_of_its_help() -> None:
    paragraphs = {
        name: " ".join(comment.replace("# ", " ").split())
        for comment, name in re.findall(r"((?:^# .*\n)+)#?([A-Za-z0-9]+):", SAMPLE.read_text(), re.M)
    }
    for name, (_, row) in OPTIONS.items():
        assert paragraphs[name].startswith(row.help), name
        assert paragraphs[name].endswith("Secret.") == (row.kind == "secret"), name


def test_the_sample_file_says_which_options_are_not_used_yet() -> None:
    used, _, later = SAMPLE.read_text().partition("── Not used yet ──")
    for name, (_, row) in OPTIONS.items():
        assert re.search(rf"^#?{name}:", later if row.later else used, re.M), name


# --- anything at all --------------------------------------------------------------------------------------------------

VALUES_SEEN = [value for _, value, _ in TAKEN + REFUSED]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(VALUES_SEEN)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner))
NAMES = st.sampled_from([*OPTIONS, *(f"{name}File" for name in OPTIONS), "http", "<<"]) | st.text()


@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_no_mapping_raises_anything_but_settings_error(mapping: dict[str, Any]) -> None:
    told: SettingsError | None = None
    try:
        Settings.from_mapping({**REQUIRED, **mapping}, environ=HOME, base=BASE)
    except SettingsError as error:
        told = error
    if told is not None:
        assert len(str(told).split("\n")) == len(told.problems) > 0


MARKS = ": |- |\n|\n  |[|]|{|}|, |#|'|\"|&a |*a|!x |<<: |? |\t|---\n|%|\\|${|}|@|>|\0|\ud800|http|middlewares|plugin"
YAML = st.lists(st.sampled_from([*OPTIONS, *MARKS.split("|"), "|"]) | st.text(max_size=4), max_size=25).map("".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.binary() | YAML.map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"a: &a {<<: *a}")
@example(b"a: &a {<<: [*a, *a]}\n<<: *a")
@example(b"http: &a {middlewares: *a, plugin: *a, pagesDomain: 1}")
@example(b'a: "\\ud800"\n"\\ud800": 1\npagesDomain: "\\ud800"\nlistQ: 1\naccessLog: "\\udc80"')
@example(b"listen: &a [*a]")
@example(b"a: &a b\nc: &a d\n")
def test_no_file_raises_anything_but_settings_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, data)
    assert len(str(caught.value).split("\n")) == len(caught.value.problems) > 0
    str(caught.value).encode()  # or it could not be printed


@pytest.mark.parametrize(
    ("given", "variable", "listened"),
    [("", "0.0.0.0:9090", "0.0.0.0:9090"), ("listen: 127.0.0.1:1\n", "0.0.0.0:9090", "127.0.0.1:1"), ("", "", None)],
)
def test_an_image_may_say_where_to_listen_if_the_file_does_not(
    tmp_path: Path, given: str, variable: str, listened: str | None
) -> None:
    (tmp_path / "pages.yaml").write_text(REQUIRED_YAML + given)
    settings = load(tmp_path / "pages.yaml", environ={"STATE_DIRECTORY": "/", "PAGES_LISTEN": variable})
    assert [str(address) for address in settings.listen] == [listened or "127.0.0.1:8080"]


def test_what_an_image_says_wrongly_is_named(tmp_path: Path) -> None:
    (tmp_path / "pages.yaml").write_text(REQUIRED_YAML)
    with pytest.raises(SettingsError, match=r"\$PAGES_LISTEN: listen: expected an address and a port"):
        load(tmp_path / "pages.yaml", environ={"STATE_DIRECTORY": "/", "PAGES_LISTEN": "x/y"})
