# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages check-site`: what the server would say of a folder, and an exit code that stops a push."""

from __future__ import annotations

import io
import json
import queue
import threading
from pathlib import Path
from urllib.request import urlopen

import pytest

from addon.commands.check_site import check_site_command, watch
from addon.preview.opening import open_preview
from tests.addon.preview.sites import Site


def folder(at: Path, **files: str) -> Path:
    for name, text in {"public/index.html": "home", ".pages": "enabled: true\n", **files}.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(text)
    return at


def checked(directory: Path, *, as_json: bool = False) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return check_site_command(directory, as_json=as_json, stdout=out, stderr=err), out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("files", "code", "says"),
    [
        ({}, 0, "Nothing to be mended."),
        ({"public/_redirects": "/a /b\n/* /index.html 200"}, 0, "Redirects: 1 for one path each, 1 others"),
        ({"public/_redirects": "/a"}, 1, "_redirects, line 1: it says from where"),
        ({"public/_headers": "/*\n  Server: me"}, 1, "_headers, line 2: server may not be set"),
        ({".redirects": "a b"}, 1, ".redirects, line 1:"),
        ({"_redirects": "/a /b"}, 1, "it lies outside the site"),
        ({".pages": "spaa: true"}, 1, "did you mean spa?"),
        ({".pages": "spa: [1"}, 1, ".pages, line"),
        ({".pages": "root: docs", "docs/index.html": "x"}, 0, "Folder: docs/"),
        ({".pages": "branch: gh-pages"}, 1, "there is no branch"),
        ({".pages": "enabled: false"}, 1, "enabled: false"),
    ],
)
def test_a_folder_is_told_what_the_server_would_tell_of_it(
    tmp_path: Path, files: dict[str, str], code: int, says: str
) -> None:
    found, out, _ = checked(folder(tmp_path, **files))
    assert says in out
    assert found == code


def test_the_same_as_json_and_nothing_to_look_at(tmp_path: Path) -> None:
    code, out, _ = checked(folder(tmp_path, **{"public/_redirects": "/a\n/b /c"}), as_json=True)
    told = json.loads(out)
    assert (code, told["redirects"], told["findings"][0]["line"]) == (1, {"static": 1, "dynamic": 0}, 1)
    code, out, err = checked(tmp_path / "none")
    assert (code, out) == (2, "")
    assert "does not exist" in err


def test_a_repository_with_its_site_on_another_branch(tmp_path: Path) -> None:
    site = Site(tmp_path / "alice" / "blog.git", {".pages": b"branch: gh-pages\n"})
    site.commit({"index.html": b"home", "_redirects": b"/a\n"}, branch="gh-pages")
    site.close()
    code, out, _ = checked(tmp_path)
    assert code == 1
    assert "_redirects, line 1" in out


def test_a_preview_says_it_again_when_it_changes(tmp_path: Path) -> None:
    directory = folder(tmp_path, **{"public/_redirects": "/a"})
    forge = open_preview(directory)
    said: queue.Queue[list[str]] = queue.Queue()
    forge.start_thread()
    try:
        threading.Thread(target=watch, args=(forge, said.put), daemon=True).start()
        assert "_redirects, line 1" in said.get(timeout=30)[1]
        folder(tmp_path, **{"public/_redirects": "/a /b\n/c"})
        urlopen(f"{forge.url}/api/v1/version", timeout=10).close()  # as a visitor's look would
        assert "_redirects, line 2" in said.get(timeout=30)[1]
    finally:
        forge.stop()
