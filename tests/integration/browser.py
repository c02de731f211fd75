# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A real Chromium without a window, driven by its DevTools protocol: opens pages, types, and says what it shows.

The protocol is spoken through tornado, which mitmproxy brings.
"""

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.waiting import DEADLINE, wait_until

START_SECONDS = 40.0


class Browser:
    """One tab. Every wait has a deadline."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self._connection = connection
        self._number = 0

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its result."""
        self._number += 1
        await self._connection.write_message(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = await self._connection.read_message()
            assert message is not None, "Chromium closed the connection"
            told = json.loads(message)
            if told.get("id") == self._number:
                result: dict[str, Any] = told.get("result", {})  # none while one page gives way to the next
                return result

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        told = await self.command("Runtime.evaluate", expression=expression, returnByValue=True)
        return told.get("result", {}).get("value")

    async def becomes(self, expression: str, seconds: float = DEADLINE) -> None:
        """Wait until an expression is true in the page."""
        deadline = time.monotonic() + seconds
        while not await self.evaluate(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"

    async def open(self, url: str) -> None:
        await self.command("Page.navigate", url=url)

    async def shows(self, text: str, seconds: float = DEADLINE) -> str:
        """The page's text, once it has this in it."""
        deadline = time.monotonic() + seconds
        while True:
            found = str(await self.evaluate("document.readyState == 'complete' ? document.body.innerText : ''"))
            if text in found:
                return found
            assert time.monotonic() < deadline, f"expected {text!r}, the page says: {found[:300]!r}"

    async def types(self, text: str) -> None:
        """Type where the focus is, press Enter, and wait for the page that comes of it."""
        await self.becomes("document.activeElement.tagName == 'INPUT' && (window.before = true)")
        await self.command("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            await self.command("Input.dispatchKeyEvent", type=kind, key="Enter", windowsVirtualKeyCode=13, text="\r")
        await self.becomes("!window.before && document.readyState == 'complete'")

    async def picture(self, *, width: int = 1000, dark: bool = False) -> bytes:
        """A PNG of the page, as a desktop or (below 600 pixels) a telephone shows it."""
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.command("Emulation.setEmulatedMedia", features=[scheme])
        told = await self.command("Page.captureScreenshot", format="png")
        return base64.b64decode(told["data"])


def _address(process: "subprocess.Popen[bytes]", folder: Path) -> str:
    """Where the DevTools protocol of the first tab is spoken."""
    port_file = folder / "DevToolsActivePort"

    def is_written() -> bool:
        assert process.poll() is None, "Chromium ended"
        return port_file.exists() and "\n" in port_file.read_text()

    wait_until(is_written, "the start of Chromium", START_SECONDS)
    port = int(port_file.read_text().splitlines()[0])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=20) as response:
        tabs = json.load(response)
    return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))


def _started(folder: str, flags: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if binary is None:
        raise FileNotFoundError("chromium is not installed (Debian: apt-get install chromium)")
    command = [
        *(binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
        *("--host-resolver-rules=MAP * 127.0.0.1", "--remote-debugging-port=0", f"--user-data-dir={folder}"),
        *flags,
        "about:blank",
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextlib.asynccontextmanager
async def browser(*flags: str) -> AsyncIterator[Browser]:
    """A new Chromium for which every host name is this machine. FileNotFoundError where there is none."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = await asyncio.to_thread(_started, folder, flags)
        try:
            address = await asyncio.to_thread(_address, process, Path(folder))
            connection = await websocket_connect(address, max_message_size=64 << 20)
            tab = Browser(connection)
            await tab.command("Page.enable")
            yield tab
            connection.close()
        finally:
            process.kill()
            process.wait()
