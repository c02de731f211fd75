# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The access log: one JSON line a request, without its query, cookies or any secret.

Lines are handed to a thread of its own, because a full disk or a slow terminal must not hold up the event loop; when
that thread is too far behind, lines are dropped and their number is said in the log as soon as there is room again.
Several processes may write to one file: lines are appended, whole, by one write each time.
"""

import contextlib
import os
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as _quoted
from pathlib import Path

ABORTED = 499
"""What is said of a request whose client went away before it was answered, as nginx does."""
_MOST_WAITING = 20_000
_MOST_AT_ONCE = 500
_COLLECT_SECONDS = 0.02


class AccessLog:
    """Writes a line for each request to standard error or to a file, which may be rotated by renaming it."""

    def __init__(self, path: Path | None) -> None:
        """path: the file (made with mode 0640), or None for standard error. Raises OSError if it cannot be opened."""
        self._path = path
        self._dropped = 0
        self._lines: deque[str] = deque()
        self._some = threading.Event()
        self._closed = False
        self._second, self._shown_second = 0, ""
        self._file = sys.stderr.fileno() if path is None else _opened(path)
        self._thread = threading.Thread(target=self._write, name="pages-access-log", daemon=True)
        self._thread.start()

    def record(
        self, *, client: str, method: str, host: str, path: str, status: int, nbytes: int, seconds: float, cache: str
    ) -> None:
        """Note one request. nbytes: the body's; seconds: from its head to the end of the answer."""
        if len(self._lines) > _MOST_WAITING:
            self._dropped += 1
            return
        wall = time.time()
        second = int(wall)
        if second != self._second:
            self._second = second
            self._shown_second = datetime.fromtimestamp(second, UTC).isoformat()[:19]
        # By hand, for this is a third of a request's cost by `json.dumps` and `isoformat`.
        more = f', "cache": {_quoted(cache)}' if cache else ""
        if self._dropped:
            more += f', "dropped_before": {self._dropped}'
            self._dropped = 0
        self._lines.append(
            f'{{"time": "{self._shown_second}.{int((wall - second) * 1000):03d}+00:00", "client": {_quoted(client)}, '
            f'"method": {_quoted(method)}, "host": {_quoted(host)}, "path": {_quoted(path)}, "status": {status}, '
            f'"bytes": {nbytes}, "ms": {round(seconds * 1000, 2)}{more}}}\n'
        )
        if not self._some.is_set():
            self._some.set()

    def close(self) -> None:
        """Write what is waiting, at most two seconds long."""
        self._closed = True
        self._some.set()
        self._thread.join(2.0)

    def _write(self) -> None:
        checked = time.monotonic()
        # A pipe takes only so much in one piece (PIPE_BUF); a file takes any number of lines.
        most = 1 if self._path is None else _MOST_AT_ONCE
        while not (self._closed and not self._lines):
            self._some.wait()
            if not self._closed:
                time.sleep(_COLLECT_SECONDS)  # to be woken for each line costs more than the line
            self._some.clear()
            if self._path is not None and time.monotonic() - checked > 1.0:
                checked = time.monotonic()
                with contextlib.suppress(OSError):
                    self._reopen(self._path)
            while lines := [self._lines.popleft() for _ in range(min(most, len(self._lines)))]:
                rest = "".join(lines).encode("ascii")
                with contextlib.suppress(OSError):
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
