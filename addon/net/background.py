# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The end of tasks that go on behind everybody's back: watches, keepers, reporters. Knows asyncio and nothing else.

The surprise: what had gone wrong in one of them is said here, not raised, so that the end of one part never prevents
that of the next.
"""

import asyncio
import logging

logger = logging.getLogger(__name__)


async def ended(*tasks: asyncio.Task[None] | None) -> None:
    """Cancel what still runs of them, and wait until all have ended. None: it was never begun."""
    begun = [task for task in tasks if task is not None]
    for task in begun:
        task.cancel()
    for task, outcome in zip(begun, await asyncio.gather(*begun, return_exceptions=True)):
        if isinstance(outcome, Exception):
            logger.error("the background task %s failed", task.get_name(), exc_info=outcome)
