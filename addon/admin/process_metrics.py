# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What one process counts of itself, and what several come to when they are told as one.

Knows the system and the loop's watch. Numbers are added up but for those where a sum means nothing: of ages and of
lags the largest counts, and rates are made anew from what was added up. A state is the worst that anybody has.
"""

import contextlib
import errno
import gc
import os
import resource
import time
from collections.abc import Iterable, Mapping, Sequence

from addon.process.loop_watch import LoopWatch
from addon.process.worker import Worker

Section = Mapping[str, object]
Numbers = Mapping[str, Section]
"""By section; all of it can be said in JSON."""

_LARGEST = frozenset(("running_seconds", "event_loop_lag_ms", "worst_event_loop_lag_ms", "clock_skew_seconds"))
NOT_ADDED = frozenset(("process", "meters", "errors", "Webhook", "Proxy in front", "Disk"))
"""Sections that are of one process, or for programs alone."""
_BEGAN = time.monotonic()


def own_process(worker: Worker | None, watch: LoopWatch) -> Section:
    """This process: its number among its siblings, what it takes of the machine, and how late its loop is."""
    return {
        "number": worker.number if worker is not None else 0,
        "pid": os.getpid(),
        "running_seconds": round(time.monotonic() - _BEGAN),
        "cpu_seconds": round(time.process_time(), 2),
        "resident_bytes": _resident(),
        "open_files": _open_files(),
        "open_files_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "garbage_collections": sum(generation["collections"] for generation in gc.get_stats()),
        "event_loop_lag_ms": round(watch.lag * 1000, 1),
        "worst_event_loop_lag_ms": round(watch.worst * 1000, 1),
        "event_loop_stalls": watch.stalls,
    }


def added_up(each: Sequence[Numbers]) -> dict[str, dict[str, object]]:
    """The numbers of several processes as one, without NOT_ADDED."""
    sections: dict[str, dict[str, object]] = {}
    for name in dict.fromkeys(name for numbers in each for name in numbers if name not in NOT_ADDED):
        parts = [numbers[name] for numbers in each if name in numbers]
        fields = dict.fromkeys(field for part in parts for field in part)
        sections[name] = {field: _one(field, [part[field] for part in parts if field in part]) for field in fields}
        if "hit_rate" in fields:
            hits, misses = sections[name].get("hits"), sections[name].get("misses")
            looked = (hits if isinstance(hits, int) else 0) + (misses if isinstance(misses, int) else 0)
            sections[name]["hit_rate"] = hits / looked if looked and isinstance(hits, int) else None
    return sections


def _one(field: str, values: list[object]) -> object:
    counts = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(counts) == len(values):
        return max(counts) if field in _LARGEST else sum(counts)
    if all(isinstance(value, bool) for value in values):
        return all(values)
    return next((value for value in values if value not in ("answers", None)), values[0])


def shown(processes: Iterable[Section]) -> dict[str, str]:
    """Processes for people, a line each."""
    lines = {}
    for each in processes:
        size = each["resident_bytes"]
        memory = f", {size // 2**20} MB" if isinstance(size, int) else ""
        lines[f"{each['number']}"] = (
            f"process {each['pid']}{memory}, {each['open_files']} open files, event loop late by"
            f" {each['event_loop_lag_ms']} ms, at most {each['worst_event_loop_lag_ms']} ms in the last minute"
        )
    return lines


def _resident() -> int | None:
    """Bytes of memory; None where the system does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
    return None


def _open_files() -> int | None:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError as error:  # to count them takes one
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0] if error.errno in (errno.EMFILE, errno.ENFILE) else None
