# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The command line as a whole: help, versions, which settings file is meant, output for programs, completion."""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mitmproxy.version
import pytest

from addon import __version__
from addon.commands.cli import main, parser
from tests.integration.running import ROOT

GOOD = "pagesDomain: pages.test\nforgejoHost: http://127.0.0.1:1\n"
COMMAND = [sys.executable, "-m", "addon.commands.cli"]


def leaves(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands that do something."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from leaves(each)
            return
    yield top


@pytest.mark.parametrize("each", list(leaves(parser())), ids=lambda each: each.prog)
def test_each_command_says_what_it_does_with_an_example_and_its_exit_codes(each: argparse.ArgumentParser) -> None:
    told = each.format_help()
    assert each.description is not None
    assert each.description.endswith(".")
    assert f"\n  {each.prog}" in told.partition("example")[2] or "| pages hash" in told
    assert "exit codes:\n  0  " in told
    for example in told.partition("example")[2].partition("exit codes")[0].splitlines():
        words = example.replace(" | ", " ; ").partition("; ")[2] or example
        if words.strip().startswith(each.prog):
            parser().parse_args(words.partition(">")[0].split()[1:])  # ends the program where it is wrong


def test_the_versions_of_what_it_stands_on_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    expected = f"pages {__version__} (mitmproxy {mitmproxy.version.VERSION}, Python {platform.python_version()})\n"
    assert capsys.readouterr().out == expected


def test_the_settings_file_is_the_one_named_or_that_of_the_environment_or_that_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("named", "environment", "pages"):
        (tmp_path / f"{name}.yaml").write_text(GOOD.replace("pages.test", f"{name}.test"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PAGES_CONFIG", raising=False)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    for arguments, environment, expected in (
        ([], "", "pages.test"),
        ([], "environment.yaml", "environment.test"),
        (["named.yaml"], "environment.yaml", "named.test"),
        (["--config", "named.yaml"], "environment.yaml", "named.test"),
    ):
        monkeypatch.setenv("PAGES_CONFIG", environment)
        assert main(["check", "--offline", *arguments]) == 0
        assert expected in capsys.readouterr().out
    (tmp_path / "pages.yaml").unlink()
    monkeypatch.setenv("PAGES_CONFIG", "")
    with pytest.raises(SystemExit) as ended:
        main(["serve"])
    assert ended.value.code == 2
    assert "pages init" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "code"), [(GOOD, 0), ("pagesDomain: x y\n", 1), (GOOD + "accessLog: /no/such\n", 1)])
def test_check_tells_programs_in_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, code: int
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    config = tmp_path / "pages.yaml"
    config.write_text(text)
    assert main(["check", "--offline", "--json", str(config)]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is (code == 0)
    assert bool(told["problems"]) is (code == 1)


def test_check_names_what_is_only_an_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert main(["check", "--offline", str(ROOT / "config" / "pages.yaml")]) == 0
    told = capsys.readouterr().out
    assert "pagesDomain: pages.example.org is only an example" in told
    assert "forgejoHost: git.example.org is only an example" in told


def test_where_the_files_are_is_told_programs_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["files", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (Path(told["folder"]) / "pages.yaml").is_file()
    assert {"pages.yaml", "caddy/Caddyfile", "guides/operators.md"} <= set(told["files"])


def test_a_reader_that_has_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*COMMAND, "files"], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_hash_takes_no_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["hash", "--config", "x"])
    assert "unrecognized arguments" in capsys.readouterr().err


def test_bash_completes_the_commands(tmp_path: Path) -> None:
    script = subprocess.run([*COMMAND, "completion", "bash"], cwd=ROOT, capture_output=True, check=True).stdout
    (tmp_path / "pages.bash").write_bytes(script)
    asked = "source pages.bash; COMP_WORDS=(pages pre); COMP_CWORD=1; _shtab_pages; echo ${COMPREPLY[@]}"
    done = subprocess.run(["bash", "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["preview"]
