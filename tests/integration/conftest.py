# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One forge with the recorded repositories and one real mitmdump in front of it, for all tests that change neither."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from addon.preview.forge import Forge
from tests.addon.preview import fixtures
from tests.addon.preview.odd_pages import OddForge
from tests.addon.preview.running import everything_forge
from tests.addon.preview.sites import Site
from tests.integration.gallery import gallery
from tests.integration.running import Proxy, running_proxy
from tests.integration.through import passing_through
from tests.integration.wire import Wire


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    root = tmp_path_factory.mktemp("forge")
    Site(root / "compress" / "gallery.git", gallery())
    with everything_forge(root) as forge:
        yield forge


@pytest.fixture(scope="session")
def proxy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proxy")


@pytest.fixture(scope="session")
def proxy(forge: Forge, proxy_folder: Path) -> Iterator[Proxy]:
    with running_proxy(proxy_folder, forge.url, accessLog="requests.log") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a module's own proxy writes into."""
    return tmp_path_factory.mktemp("module")


@pytest.fixture(scope="module")
def odd(forge: Forge) -> Iterator[OddForge]:
    """Pages that no repository has, and the forge beside them."""
    odd = OddForge(forge.url)
    yield odd
    odd.stop()


@pytest.fixture(scope="module")
def beside() -> str:
    """The script that a module's `passing` loads beside the addon; none."""
    return ""


@pytest.fixture(scope="module")
def passing(odd: OddForge, folder: Path, beside: str) -> Iterator[Proxy]:
    """A module's own proxy that passes the forge's public host through to `odd`; its output and log are in `folder`."""
    with passing_through(folder, odd, beside=beside) as proxy:
        yield proxy


@pytest.fixture
def wire(passing: Proxy) -> Iterator[Wire]:
    """A connection to `passing`."""
    with Wire(passing.port) as wire:
        yield wire


@pytest.fixture(scope="session")
def forge_content() -> dict[str, bytes]:
    """The bytes of files of alice/blog by their address."""
    return {
        "/blog/js/app.js": b"console.log('x'.repeat(3))\n" * 300,
        "/blog/big.dat": fixtures.noise(11 * 1024 * 1024, 11),
        "/blog/limit.dat": fixtures.noise(10 * 1024 * 1024, 12),
        "/blog/media.bin": fixtures.LFS_OBJECT,
    }
