# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages hash`: a line for `.pages` out of a password that nobody sees."""

import io
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from addon.access import passwords
from addon.access.passwords import Argon2, parse_hash, verify
from addon.commands.hash import hash_command
from addon.sites.pages_file import parse
from tests.addon.access.access_cases import SECRET

ROOT = Path(passwords.__file__).parents[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(
    stdin: io.StringIO, answers: tuple[str, ...] = (), *, sha256: bool = False, branches: bool = False
) -> tuple[int, str, str]:
    given, stdout, stderr = iter(answers), io.StringIO(), io.StringIO()
    ask: Callable[[str], str] = lambda prompt: next(given)  # noqa: E731
    code = hash_command(sha256=sha256, branches=branches, stdin=stdin, stdout=stdout, stderr=stderr, ask=ask)
    return code, stdout.getvalue(), stderr.getvalue()


def test_the_line_is_read_by_the_pages_file_and_opens_with_the_password() -> None:
    code, line, said = run(Terminal(), ("correct horse battery", "correct horse battery"))
    assert (code, said) == (0, "")
    assert line.count("\n") == 1
    found = parse(line.encode())
    assert not found.warnings
    assert verify(parse_hash(found.password), b"correct horse battery")
    assert "horse" not in line


def test_the_old_form_is_the_one_of_the_plugin() -> None:
    code, line, said = run(io.StringIO("secret\n"), sha256=True)
    assert (code, line) == (0, f"password: '{SECRET}'\n")
    assert "fewer than 12" in said
    assert "quick to try" in said


def test_the_password_of_branches_has_its_own_name() -> None:
    _, line, _ = run(io.StringIO("secret"), sha256=True, branches=True)
    assert parse(line.encode()).branches_password == SECRET


@pytest.mark.parametrize("line", ["secret", "secret\n", "secret\r\n", "secret\nmore\n"])
def test_one_line_is_taken_where_there_is_no_terminal(line: str) -> None:
    assert run(io.StringIO(line), sha256=True)[1] == f"password: '{SECRET}'\n"


def test_spaces_belong_to_the_password() -> None:
    assert SECRET not in run(io.StringIO(" secret \n"), sha256=True)[1]


@pytest.mark.parametrize("answers", [("secret", "Secret"), ("secret", ""), ("", "")])
def test_two_different_answers_or_none_make_no_hash(answers: tuple[str, ...]) -> None:
    code, line, said = run(Terminal(), answers)
    assert (code, line) == (1, "")
    assert said.startswith("pages hash: ")
    assert "secret" not in said.lower()


@pytest.mark.parametrize("text", ["", "\n"])
def test_no_password_is_an_error(text: str) -> None:
    assert run(io.StringIO(text))[:2] == (1, "")


def test_where_argon2_fails_it_says_so_and_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(password: bytes, wanted: Argon2) -> bytes:
        raise MemoryError

    monkeypatch.setattr(passwords, "_implementation", lambda: fails)
    code, line, said = run(io.StringIO("correct horse battery\n"))
    assert (code, line) == (1, "")
    assert "MemoryError" in said


def own_terminal() -> None:
    """Make standard input the terminal of this session, so that /dev/tty is it."""
    os.close(os.open(os.ttyname(0), os.O_RDWR))


def test_on_a_real_terminal_nothing_that_is_typed_is_shown() -> None:
    program = "import sys; from addon.commands.hash import hash_command; sys.exit(hash_command(sha256=True))"
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=own_terminal,
    )
    shown = b""
    for prompt in (b"Password: ", b"Again: "):
        while not shown.rstrip(b" ").endswith(prompt.rstrip(b" ")):
            shown += os.read(main, 1000)
        assert not termios.tcgetattr(terminal)[3] & termios.ECHO
        os.write(main, b"secret\n")
    out, _ = process.communicate(timeout=30)
    os.close(terminal)
    os.close(main)
    assert process.returncode == 0
    assert out == f"password: '{SECRET}'\n".encode()
    assert b"secret" not in shown
