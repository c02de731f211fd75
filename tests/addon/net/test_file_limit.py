# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A process without a free descriptor says so in words, and counts what it has open all the same."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from typing import Any

import pytest

from addon.admin.process_numbers import own_process
from addon.net.file_limit import tell_when_reached
from addon.process.loop_watch import LoopWatch


async def test_that_no_descriptor_is_left_is_said_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    loop, passed = asyncio.get_running_loop(), []

    def before(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        passed.append(context["message"])

    loop.set_exception_handler(before)
    tell_when_reached(loop)
    loop.call_exception_handler({"message": "accept", "exception": OSError(errno.EMFILE, "Too many open files")})
    loop.call_exception_handler({"message": "another", "exception": OSError(errno.EPIPE, "Broken pipe")})
    loop.call_exception_handler({"message": "none"})
    assert passed == ["another", "none"]
    (record,) = caplog.records
    assert "no file descriptor is left" in record.message
    assert "LimitNOFILE" in record.message


def test_a_process_at_its_limit_is_counted_as_full() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        while len(held) < 100:
            try:
                held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        told = own_process(None, LoopWatch())
        assert (told["open_files"], told["open_files_limit"]) == (64, 64)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)
