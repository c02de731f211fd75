# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What the owner of a site without files is told, by what lies beside the folder that is served."""

import pytest

from addon.sites.empty_site import EmptySite

FILE, LINK, SUBMODULE = 0o100644, 0o120000, 0o160000


def told(*paths: str | tuple[str, int], prefix: str = "public/") -> str | None:
    """The reason and the remedy; paths: of the repository outside of the site, with their modes."""
    around = EmptySite(prefix)
    for path in paths:
        around.add(*((path, FILE) if isinstance(path, str) else path))
    found = around.explained()
    return None if found is None else f"{found.reason}; {found.remedy}"


@pytest.mark.parametrize(
    ("paths", "reason", "remedy"),
    [
        ([("public", SUBMODULE)], "`public/` is a submodule", "commit the files themselves below `public/`"),
        ([("public", LINK)], "`public` is a symbolic link", "`root: FOLDER`"),
        ([("public", FILE)], "`public` is a file", "a folder called `public`"),
        ([("public", 0o100755)], "`public` is a file", "a folder called `public`"),
        (["Public/index.html"], "the folder is called `Public/`", "`root: Public` into `.pages`"),
        (["PUBLIC/a/b"], "the folder is called `PUBLIC/`", "rename it to `public/`"),
        (["Public/a", "PUBLIC/b"], "`Public/`", "`root: Public`"),
        (["dist/index.html"], "there is no folder `public/`, but `dist/` has an `index.html`", "`root: dist`"),
        (["_site/index.html"], "`_site/` has an `index.html`", "`root: _site`"),
        (["docs/index.html", "dist/index.html", "index.html"], "`dist/` has", "`root: dist`"),
        (["index.html"], "an `index.html` lies in the repository itself", "`root: .`"),
        (["index.html", "book/index.html"], "`book/` has", "`root: book`"),
        # What says more comes first.
        (["dist/index.html", "Public/a", ("public", SUBMODULE)], "is a submodule", ""),
        (["dist/index.html", "Public/a", ("public", LINK)], "is a symbolic link", ""),
        (["dist/index.html", "Public/a", ("public", FILE)], "is a file", ""),
        (["dist/index.html", "Public/a"], "is called `Public/`", ""),
    ],
)
def test_an_empty_site_is_explained_by_what_lies_beside_it(
    paths: list[str | tuple[str, int]], reason: str, remedy: str
) -> None:
    said = told(*paths)
    assert said is not None
    before, _, after = said.partition("; ")
    assert reason in before
    assert remedy in after
    assert "root:" in after or "root" not in remedy


@pytest.mark.parametrize(
    "paths",
    [
        [],
        ["README.md", "src/index.html", "dist/a/index.html", "dist/index.htm", "xdist/index.html", "a/public"],
        ["index.htm", "a.html", "index.html.txt", "publi", "publiC", "pubic/x", ("a/public", LINK)],
        ["/index.html"],
    ],
)
def test_where_nothing_says_it_nothing_is_told(paths: list[str | tuple[str, int]]) -> None:
    assert told(*paths) is None


def test_a_site_that_is_the_whole_repository_has_nothing_beside_it() -> None:
    assert told("dist/index.html", prefix="") is None


def test_what_is_told_is_of_the_folder_and_of_no_line() -> None:
    around = EmptySite("web/site/")
    around.add("web/site", LINK)
    found = around.explained()
    assert found is not None
    assert (found.file, found.line) == ("web/site/", None)
