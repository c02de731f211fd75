# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages preview`: a folder or repository as it would be published, on this machine.

Three servers in one process: a forge of one over the folder, the pages server itself (mitmdump with the addon, as in
production), and in front of it what browsers reach, which adds what helps to write a site and is nowhere else.
"""

import argparse
import asyncio
import contextlib
import ipaddress
import json
import logging
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from addon.commands.serve import run_mitmdump
from addon.settings.schema import load

EXAMPLE = Path(__file__).parents[1] / "preview" / "example"
LINKS = {"public/files/newest.txt": "notes 10.txt"}
"""Symbolic links of the example, which a package does not keep as such."""
PREVIEW_DOMAIN = "pages.localhost"
"""Browsers and curl resolve every name below `localhost` to this machine."""
PORTS = range(8080, 8100)
"""Tried one after the other where no port was asked for."""
POLL_SECONDS = 0.5
UNWATCHED_SECONDS = 2.0
"""Seconds between two looks at the files, with and without a browser that waits for a change."""


class _Taken(Exception):
    """The port is in use."""


def preview_command(options: argparse.Namespace) -> int:
    """Serve until Ctrl+C; returns the exit code."""
    from addon.preview.opening import PreviewError, open_preview, root_of

    directory: Path | None = options.directory or options.example
    try:
        if options.example is not None:
            _write_example(options.example)
        directory = root_of(Path.cwd()) if directory is None else root_of(directory.resolve()) or directory
        is_example = directory is None
        forge = open_preview(directory or EXAMPLE, options.name or ("example" if is_example else None))
        listener = _listener(options.host, options.port)
    except (PreviewError, _Taken) as error:
        print(f"pages preview: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"pages preview: {error.filename or options.host}: {error.strerror}", file=sys.stderr)
        return 1
    shown = "the example site" if is_example else str(directory)
    with contextlib.ExitStack() as stack:
        stack.callback(listener.close)
        forge.start_thread()
        stack.callback(forge.stop)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pages-preview-")))
        inner = _free_port()
        config = folder / "pages.yaml"
        config.touch(mode=0o600)  # it holds secrets, if only for the forge of this preview
        config.write_text(json.dumps(_settings(options.config, forge.port, inner, folder)), encoding="utf-8")
        (folder / "state").mkdir(mode=0o700)
        # Nobody but the server in front comes to it, and that has parsed the request.
        logging.getLogger("addon.plugin").addFilter(lambda record: "known faults" not in str(record.msg))
        preview = _Preview(forge, inner, listener, options)
        threading.Thread(target=preview.open, args=(shown,), daemon=True).start()
        stack.callback(preview.close)
        return run_mitmdump(config, folder / "state")


class _Preview:
    """The server in front, and the look at the files behind it."""

    def __init__(self, forge: Any, inner: int, listener: socket.socket, options: argparse.Namespace) -> None:
        from addon.preview.builds import build_of
        from addon.preview.preview_proxy import PreviewProxy
        from addon.preview.settings import Token

        self._forge = forge
        self._inner = inner
        self._listener = listener
        self._options = options
        self._port: int = listener.getsockname()[1]
        token = secrets.token_hex(20)
        forge.tokens[token] = Token("preview", admin=True)
        build = build_of(options.directory) if options.directory is not None and options.directory.is_dir() else None
        self._proxy = PreviewProxy(
            inner,
            PREVIEW_DOMAIN,
            self._sites,
            allowed=options.allow_host,
            say=lambda line: print(line, flush=True),
            advice=build.base if build is not None else "",
            token=token,
        )
        self._notes: list[str] = []
        self._watching: asyncio.Task[None] | None = None

    def _sites(self) -> Sequence[Any]:
        from addon.preview.preview_proxy import SiteAddress

        parts = [urlsplit(address) for address in self._forge.addresses(PREVIEW_DOMAIN, 80)]
        return [SiteAddress(each.netloc, each.path) for each in parts]

    def open(self, shown: str) -> None:
        """Wait for the server behind, open the one in front, and say where it is."""
        if not _answers(self._inner):
            return
        asyncio.run_coroutine_threadsafe(self._start(), self._forge.loop).result()
        addresses = self._forge.addresses(PREVIEW_DOMAIN, self._port)
        elsewhere = _addresses(self._options.host, self._port)
        self._notes = _unpublished(self._forge)
        lines = [f"note: {hint}" for hint in (*self._forge.hints, *self._notes)]
        lines += [f"Showing {shown} at", *(f"  {address}" for address in (*addresses, *elsewhere))]
        lines.append("A page is loaded again when a file changes. Ctrl+C ends the preview.")
        print("\n".join(lines), flush=True)
        if self._options.open and addresses:
            webbrowser.open(addresses[0])
        from addon.commands.check_site import watch

        watch(self._forge, lambda found: print("\n".join(found), flush=True))

    async def _start(self) -> None:
        await self._proxy.start(self._listener)
        self._watching = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        before = self._state()
        while True:
            await asyncio.sleep(POLL_SECONDS if self._proxy.watched else UNWATCHED_SECONDS)
            with contextlib.suppress(Exception):  # a file that goes while we look: the next look sees what came of it
                state = self._state()
                if state == before:
                    continue
                before = state
                self._proxy.changed()
                notes = _unpublished(self._forge)
                for note in notes:
                    if note not in self._notes:
                        print(f"note: {note}", flush=True)
                self._notes = notes

    def _state(self) -> list[tuple[str, dict[str, str]]]:
        """The commit of each branch of each site."""
        self._forge.registry.refresh()
        found = []
        for place in self._forge.registry.places():
            place.repository.source.refresh()
            found.append((place.full_name, place.repository.branches()))
        return found

    def close(self) -> None:
        async def ended() -> None:
            if self._watching is not None:
                self._watching.cancel()
            await self._proxy.aclose()

        if self._forge.loop is not None:
            asyncio.run_coroutine_threadsafe(ended(), self._forge.loop).result(10)


def _unpublished(forge: Any) -> list[str]:
    from addon.preview.opening import unpublished
    from addon.preview.worktree import WorkTree

    sources = [place.repository.source for place in forge.registry.places()]
    return [note for source in sources if isinstance(source, WorkTree) for note in unpublished(source)]


def _settings(config: Path | None, forge: int, port: int, folder: Path) -> dict[str, str | int]:
    """The settings of a preview: those of a file that mean something here, and its own. JSON is YAML, too."""
    options: dict[str, str | int] = {}
    if config is not None:
        given = load(config)
        options = {
            "memoryCacheSize": given.memory_cache_size,
            "maxCachedFileSize": given.max_cached_file_size,
            "maxSiteFiles": given.max_site_files,
            "workers": given.workers,
            "accessLog": str(given.access_log or "off"),
        }
    return options | {
        "pagesDomain": PREVIEW_DOMAIN,
        "forgejoHost": f"http://127.0.0.1:{forge}",
        "listen": f"127.0.0.1:{port}",
        "cacheTTL": 0,  # changes in the folder are visible on reload
        "browserCacheTTL": 0,
        "logLevel": "warning",
        "stateDir": str(folder / "state"),
        "oauthClientId": "preview",  # of no use, but that sites for members are shown to who brings a token
        "oauthClientSecret": "preview",
    }


def _write_example(folder: Path) -> None:
    """Write the example site into a folder that is empty or not there; raises OSError."""
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(0, "there is something in it: name a new folder", str(folder))
    shutil.copytree(EXAMPLE, folder, symlinks=True, dirs_exist_ok=True)
    for name, target in LINKS.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)


def _listener(host: str, port: int | None) -> socket.socket:
    """A socket that is bound to the port, to the next free one where none is asked for; raises OSError or _Taken."""
    for number in (port,) if port is not None else (*PORTS, 0):
        with contextlib.ExitStack() as stack:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = stack.enter_context(socket.socket(family))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, number))
                listener.listen(128)  # binding alone succeeds beside a listener of another address
            except OSError as error:
                if port is not None:
                    raise _Taken(f"port {port}: {error.strerror}: try another, or --port 0") from None
                continue
            stack.pop_all()
            return listener
    raise _Taken(f"{host}: no port can be had there")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _addresses(host: str, port: int) -> list[str]:
    """Where other machines reach it, if they can."""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return []
    if host in ("0.0.0.0", "::"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses the address one would send from
            host = probe.getsockname()[0]
    return [f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"]


def _answers(port: int, clock: Callable[[], float] = time.monotonic) -> bool:
    """Wait until somebody listens on a port of this machine."""
    deadline = clock() + 60
    while clock() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False
