# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How a line of the log looks: the same from the supervisor, from each worker, and of what mitmproxy says itself.

Knows logging and the settings' words for it. Text has the date with its zone, the level and the process; JSON has the
same as fields, and an exception in one line. Where the journal reads us it has the date and the unit already, and is
told the level by the prefix that it knows (sd-daemon(3)).
"""

import json
import logging
import os
import sys
from datetime import datetime
from typing import Final, TextIO

TEXT: Final = "text"
JSON: Final = "json"
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class Lines(logging.Formatter):
    """Text, a line a message; what has several lines (a traceback) has them below it."""

    def __init__(self, process: str, *, journal: bool = False) -> None:
        """process: which of several says it. journal: the journal reads it."""
        super().__init__()
        self._process = process
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """The text, without a newline at its end."""
        said = super().format(record)
        if self._journal:
            text = f"{self._process}: {said}"
            prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
            return "\n".join(prefix + line for line in text.split("\n"))
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(" ", "milliseconds")
        return f"{when} {record.levelname.lower()} {self._process}: {said}"


class Objects(logging.Formatter):
    """A line of JSON for each message."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The JSON, without a newline at its end."""
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


class WholeLines:
    """A text stream, written a line at a time, each by one system call.

    Several processes write to one standard error, and `print` writes the end of a line by itself where nothing is
    buffered (PYTHONUNBUFFERED): another's line came in between.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun = ""

    def write(self, text: str) -> int:
        """As `io.TextIOBase.write`; what is no whole line yet is kept."""
        line, end, self._begun = (self._begun + text).rpartition("\n")
        if end:
            self._stream.write(line + end)
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """As `io.IOBase.flush`."""
        self._stream.flush()


def formatter(form: str, process: str) -> logging.Formatter:
    """What writes lines of that form (`logFormat`) to standard error."""
    return Objects(process) if form == JSON else Lines(process, journal=_is_journal())


def _is_journal() -> bool:
    """Whether standard error leads to the journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def log_from_supervisor(form: str = TEXT) -> None:
    """Have the supervisor's own lines written in that form from now on."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler())
    root.setLevel(logging.INFO)
    for handler in root.handlers:
        handler.setFormatter(formatter(form, "supervisor"))
