# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which versions are refused, and that pip is told the same."""

import tomllib

import mitmproxy.version
import pytest

from addon.mitm.versions import OLDEST, OLDEST_PYTHON, TOO_NEW, unsupported
from tests.cases import by_outcome
from tests.integration.running import ROOT


@pytest.mark.parametrize(
    ("version", "supported"),
    by_outcome(
        {
            True: [
                "11.0.2",
                "11.1.3",
                "12.0.0",
                "12.2.9",
                "12.3.1",
                mitmproxy.version.VERSION,
                "12.2.0 (+3, commit 0123456)",
            ],
            False: ["11.0.1", "10.4.2", "9.0.1", "12.4.0", "12.4.0.dev", "13.0.0"],
        }
    ),
)
def test_a_version_that_does_not_fit_is_named_with_those_that_do(version: str, supported: bool) -> None:
    said = unsupported(version)
    assert (said == "") is supported
    if not supported:
        assert version in said
        assert "mitmproxy 11.0.2 to 12.3" in said


def test_an_old_python_is_named() -> None:
    assert "3.11 or newer, and this is 3.10" in unsupported("11.0.2", (3, 10))


def test_pip_is_told_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">={}.{}".format(*OLDEST_PYTHON)
    (limits,) = [entry for entry in project["dependencies"] if entry.startswith("mitmproxy")]
    assert limits == f"mitmproxy>={'.'.join(map(str, OLDEST))},<{'.'.join(map(str, TOO_NEW))}"
