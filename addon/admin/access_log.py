# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The access log: one line a request, in one of the forms of `access_formats`, without query, cookies or any secret.

Lines are handed to a thread of its own, because a full disk or a slow terminal must not hold up the event loop; when
that thread is too far behind, lines are dropped and their number is said in the log as soon as there is room again.
Several processes may write to one file: lines are appended, whole, by one write each time.
"""

import contextlib
import os
import queue
import sys
import threading
import time
from pathlib import Path

from addon.admin.access_formats import FORMATS, NOTHING, Entry, Seen, network_of

ABORTED = 499
"""What is said of a request whose client went away before it was answered, as nginx does."""
_MOST_WAITING = 20_000
_MOST_AT_ONCE = 100


class AccessLog:
    """Writes a line for each request to standard error or to a file, which may be rotated by renaming it."""

    def __init__(self, path: Path | None, form: str = "json", *, anonymous: bool = False) -> None:
        """path: the file (made with mode 0640), or None for standard error. form: one of FORMATS. anonymous: of an
        address only its network is written. Raises OSError if the file cannot be opened.
        """
        self._path = path
        self._line = FORMATS[form]
        self._anonymous = anonymous
        self._dropped = 0
        self._entries: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._file = sys.stderr.fileno() if path is None else _opened(path)
        self._thread = threading.Thread(target=self._write, name="pages-access-log", daemon=True)
        self._thread.start()

    def record(
        self,
        *,
        client: str,
        method: str,
        host: str,
        path: str,
        status: int,
        nbytes: int,
        seconds: float,
        cache: str,
        seen: Seen = NOTHING,
    ) -> None:
        """Note one request. nbytes: the body's; seconds: from its head to the end of the answer."""
        if self._entries.qsize() > _MOST_WAITING:
            self._dropped += 1
            return
        dropped, self._dropped = self._dropped, 0
        self._entries.put(Entry(time.time(), client, method, host, path, status, nbytes, seconds, cache, seen, dropped))

    def _text(self, entry: Entry) -> str:
        return self._line(entry._replace(client=network_of(entry.client)) if self._anonymous else entry)

    def close(self) -> None:
        """Write what is waiting, at most two seconds long."""
        self._entries.put(None)
        self._thread.join(2.0)

    def _write(self) -> None:
        checked = time.monotonic()
        # A pipe takes only so much in one piece (PIPE_BUF); a file takes any number of lines.
        most = 1 if self._path is None else _MOST_AT_ONCE
        entry: Entry | None = None
        over = False
        while not over:
            lines = []
            while not over:
                entry = self._entries.get()
                over = entry is None
                if entry is not None:
                    lines.append(self._text(entry))
                if len(lines) >= most or self._entries.empty():
                    break
            with contextlib.suppress(OSError):
                if self._path is not None and time.monotonic() - checked > 1.0:
                    checked = time.monotonic()
                    self._reopen(self._path)
                rest = "".join(f"{each}\n" for each in lines).encode()
                while rest:
                    rest = rest[os.write(self._file, rest) :]

    def _reopen(self, path: Path) -> None:
        """Follow a rotation: the file was renamed or removed."""
        try:
            moved = os.fstat(self._file).st_ino != path.stat().st_ino
        except FileNotFoundError:
            moved = True
        if moved:
            new = _opened(path)
            os.close(self._file)
            self._file = new


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
