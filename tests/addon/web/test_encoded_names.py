# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Files that are encoded as they lie there: some are served as what is inside, others as the file that they are."""

import pytest

from addon.web.content_types import content_type
from addon.web.encoded_names import encoded_name
from tests.cases import by_first


@pytest.mark.parametrize(
    ("coding", "name", "inside"),
    by_first(
        {
            "br": {
                "Build/game.framework.js.br": "text/javascript",
                "Build/game.wasm.br": "application/wasm",
                "Build/game.data.br": "application/octet-stream",
                "style.css.br": "text/css",
                "INDEX.HTML.BR": "text/html",
            },
            "gzip": {
                "logo.svgz": "image/svg+xml",
                "Build/game.data.gz": "application/octet-stream",
                "Build/game.wasm.gz": "application/wasm",
                "Build/game.symbols.json.gz": "application/json",
                "game.wasmgz": "application/wasm",
                "game.jsgz": "text/javascript",
            },
        }
    ),
)
def test_what_loaders_ask_for_by_its_own_name(coding: str, name: str, inside: str) -> None:
    found = encoded_name(name)
    assert found is not None
    assert (found.coding, content_type(found.name)) == (coding, inside)


@pytest.mark.parametrize(
    "name",
    ["data.csv.gz", "sitemap.xml.gz", "dump.sql.gz", "site.tar.gz", "a.gz", "a.br", "photo.png.br", "game.unityweb",
     "data.json.gz", ".svgz", "js.gz", "svgz", "", "a.js", "a.svg"],
)  # fmt: skip
def test_what_is_asked_for_as_the_file_that_it_is(name: str) -> None:
    assert encoded_name(name) is None
