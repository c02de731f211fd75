# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The access log: one line a request, in one of the forms of `access_formats`, without query, cookies or any secret.

What is noted is handed to a thread of its own, which writes the lines: neither that work nor a full disk or a slow
terminal may hold up the event loop. When that thread is too far behind, lines are dropped and their number is said in
the log as soon as there is room again. Several processes may write to one file: lines are appended, whole, by one write
each time.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

from addon.admin.access_formats import FORMATS, NOTHING, Entry, Parts, Seen, network_of

logger = logging.getLogger(__name__)

ABORTED = 499
"""What is said of a request whose client went away before it was answered, as nginx does."""
_MOST_WAITING = 20_000
_MOST_AT_ONCE = 500
_COLLECT_SECONDS = 0.002
"""What is written at a time holds the event loop up where cores are few: ten times that made the slowest answers three
times slower, and spared nothing."""


class Again(NamedTuple):
    """One request more that was answered as before; its fields are those of `Entry`, and what the lines share."""

    at: float
    client: str
    seconds: float
    parts: Parts
    dropped_before: int


class AccessLog:
    """Writes a line for each request to standard error or to a file, which may be rotated by renaming it."""

    def __init__(self, path: Path | None, form: str = "json", *, anonymous: bool = False) -> None:
        """path: the file (made with mode 0640), or None for standard error. form: one of FORMATS. anonymous: of an
        address only its network is written. Raises OSError if the file cannot be opened.
        """
        self._path = path
        self._form = FORMATS[form]
        self._anonymous = anonymous
        self._dropped = 0
        self.trouble = ""
        """Why the last lines could not be written; "" where they were."""
        self.lost = 0
        self._waiting: deque[Entry | Again] = deque()
        self._some = threading.Event()
        self._closed = False
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
        site: str = "",
        commit: str = "",
        reason: str = "",
    ) -> None:
        """Note one request; the parameters are the fields of `Entry`."""
        if len(self._waiting) > _MOST_WAITING:
            self._dropped += 1
            return
        dropped, self._dropped = self._dropped, 0
        self._waiting.append(
            Entry(
                *(time.time(), client, method, host, path, status, nbytes, seconds, cache, seen, dropped),
                *(site, commit, reason),
            )
        )
        if not self._some.is_set():
            self._some.set()

    def parts(self, entry: Entry) -> Parts:
        """What the lines of a request have in common that comes again and gets the same answer, for `record_again`."""
        return self._form.parts(entry)

    def record_again(self, parts: Parts, client: str, seconds: float) -> None:
        """Note one request that was answered as before. This is most of the traffic."""
        waiting = self._waiting
        if len(waiting) > _MOST_WAITING:
            self._dropped += 1
            return
        waiting.append(Again(time.time(), client, seconds, parts, self._dropped))
        if self._dropped:
            self._dropped = 0
        if not self._some.is_set():
            self._some.set()

    def _text(self, entry: Entry | Again) -> str:
        client = network_of(entry.client) if self._anonymous else entry.client
        parts = entry.parts if isinstance(entry, Again) else self._form.parts(entry)
        return self._form.line(entry.at, client, entry.seconds, parts, entry.dropped_before)

    def close(self) -> None:
        """Write what is waiting, at most two seconds long."""
        self._closed = True
        self._some.set()
        self._thread.join(2.0)

    def _write(self) -> None:
        checked = time.monotonic()
        # A pipe takes only so much in one piece (PIPE_BUF); a file takes any number of lines.
        most = 1 if self._path is None else _MOST_AT_ONCE
        while not (self._closed and not self._waiting):
            self._some.wait()
            if not self._closed:
                time.sleep(_COLLECT_SECONDS)  # to be woken for each line costs more than the line
            self._some.clear()
            if self._path is not None and time.monotonic() - checked > 1.0:
                checked = time.monotonic()
                with contextlib.suppress(OSError):
                    self._reopen(self._path)
            while entries := [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]:
                rest = "".join(f"{self._text(entry)}\n" for entry in entries).encode("ascii")
                try:
                    while rest:
                        rest = rest[os.write(self._file, rest) :]
                    self.trouble = ""
                except OSError as error:
                    self._lost(error, len(entries))

    def _lost(self, error: OSError, lines: int) -> None:
        """Lines could not be written: they are counted, and said of in the log, once for each trouble."""
        self.lost += lines
        trouble = f"lines of the access log cannot be written: {error.strerror}"
        if trouble != self.trouble:
            logger.error("accessLog: %s", trouble)
        self.trouble = trouble

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
