# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Why a site has no files, as far as the rest of its repository says it. Pure.

The folder that is served may be a submodule, a link, spelt in another way, or not be there while another holds a page:
what build tools write goes to `dist/`, `_site/` and the like. Whoever sees an empty site is told which it is, and what
to write. The surprise: only what was listed anyway is looked at, so of a large repository not all may be seen.
"""

from addon.sites.findings import Finding, quoted
from addon.sites.tree import MODE_LINK

_MODE_SUBMODULE = 0o160000
_INDEX = "/index.html"
# Where build tools put what is to be published, the likeliest first.
_BUILDS = ("dist", "build", "site", "_site", "docs", "out", "output", "www", "html", "web", "htdocs", "book")


class EmptySite:
    """What lies around the folder that should hold the site."""

    def __init__(self, prefix: str) -> None:
        """prefix: what stands before the site's paths in the repository."""
        self._prefix = prefix
        self._folder = prefix.rstrip("/")
        self._mode = 0
        self._spelt = ""
        self._indexes: set[str] = set()

    def add(self, path: str, mode: int) -> None:
        """A path of the repository outside of the site."""
        if path == self._folder:
            self._mode = mode
        elif path.endswith(_INDEX) and path[: -len(_INDEX)] in _BUILDS:
            self._indexes.add(path[: -len(_INDEX)])
        elif path == "index.html":
            self._indexes.add("")
        size = len(self._prefix)
        if not self._spelt and path[:size] != self._prefix and path[:size].casefold() == self._prefix.casefold():
            self._spelt = path[: size - 1]

    def explained(self) -> Finding | None:
        """Why the site has no files, and what to do; None where nothing says it."""
        if not self._prefix:
            return None
        found = self._reason()
        return Finding(self._prefix, None, *found) if found is not None else None

    def _reason(self) -> tuple[str, str] | None:
        folder, name = quoted(self._prefix), quoted(self._folder)
        if self._mode == _MODE_SUBMODULE:
            return (
                f"{folder} is a submodule, and its files belong to another repository",
                f"commit the files themselves below {folder}, or publish that repository instead",
            )
        if self._mode == MODE_LINK:
            return (
                f"{name} is a symbolic link, and no folder",
                f"write {quoted('root: FOLDER')} with the folder that it leads to into {quoted('.pages')}",
            )
        if self._mode:
            return f"{name} is a file, and no folder", f"put the site into a folder called {name}"
        if self._spelt:
            return (
                f"the folder is called {quoted(self._spelt + '/')}, and capital letters count",
                f"rename it to {folder}, or write {quoted(f'root: {self._spelt}')} into {quoted('.pages')}",
            )
        for build in (*_BUILDS, ""):
            if build in self._indexes:
                where = (
                    f"{quoted(build + '/')} has an {quoted('index.html')}"
                    if build
                    else (f"an {quoted('index.html')} lies in the repository itself")
                )
                root = f"root: {build or '.'}"
                return f"there is no folder {folder}, but {where}", f"write {quoted(root)} into {quoted('.pages')}"
        return None
