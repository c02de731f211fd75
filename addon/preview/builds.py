# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Site generators that people use: by which file one is recognised, where its output is, which command builds a site.

Commands and folders are those of each generator's documentation. They write to `public/`, which is what is published.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Build(NamedTuple):
    """A generator. markers: globs in the project's root. output: where it writes by itself. `{base}` is a path: /blog/.

    command: builds into public/. base: how it is told that the site is below a path.
    """

    name: str
    markers: tuple[str, ...]
    output: str
    command: str
    base: str


BUILDS = (
    Build(
        "MkDocs", ("mkdocs.yml", "mkdocs.yaml"), "site", "mkdocs build -d public", "links are relative: nothing to set"
    ),
    Build(
        "Sphinx",
        ("docs/conf.py", "doc/conf.py", "source/conf.py", "conf.py"),
        "docs/_build/html",
        "sphinx-build -b html docs public",
        "links are relative: nothing to set",
    ),
    Build(
        "Docusaurus",
        ("docusaurus.config.*",),
        "build",
        "npx docusaurus build --out-dir public",
        "baseUrl: '{base}' in docusaurus.config",
    ),
    Build("Astro", ("astro.config.*",), "dist", "npx astro build --outDir public", "base: '{base}' in astro.config"),
    Build(
        "Next.js",
        ("next.config.*",),
        "out",
        "npx next build && mv out public",
        "output: 'export' and basePath without its last slash ('{base}') in next.config",
    ),
    Build(
        "Vite", ("vite.config.*",), "dist", "npx vite build --outDir public --base {base}", "vite build --base={base}"
    ),
    Build(
        "Eleventy",
        (".eleventy.js", "eleventy.config.*"),
        "_site",
        "npx @11ty/eleventy --output=public --pathprefix={base}",
        "eleventy --pathprefix={base}, and the url filter in templates",
    ),
    Build(
        "Jekyll", ("_config.yml", "_config.yaml"), "_site", "jekyll build -d public -b {base}", "jekyll build -b {base}"
    ),
    Build(
        "Hugo",
        ("hugo.toml", "hugo.yaml", "hugo.json", "config/_default/hugo.*", "archetypes/default.md"),
        "public",
        "hugo --baseURL {base}",
        "hugo --baseURL {base}",
    ),
)
"""The more telling markers first: an Astro or Docusaurus project may have a Vite file beside its own."""


def build_of(folder: Path) -> Build | None:
    """The generator whose project a folder is."""
    for build in BUILDS:
        if any(any(folder.glob(marker)) for marker in build.markers):
            return build
    return None


def hints(folder: Path, base: str) -> list[str]:
    """What to do where a generator's project has no site in `public/` yet."""
    build = build_of(folder)
    if build is None or any((folder / "public").glob("**/index.html")):
        return []
    found = f"this is a project of {build.name}, and public/ holds no page yet; build with: {build.command}"
    lines = [found.format(base=base)]
    if build.output != "public" and (folder / build.output / "index.html").is_file():
        lines.append(f"what {build.name} built is in {build.output}/: pages preview {folder / build.output}")
    if base != "/":
        lines.append(f"it will be at {base}: {build.base.format(base=base)}")
    return lines
