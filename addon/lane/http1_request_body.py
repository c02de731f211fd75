# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A request of HTTP/1.1 that brings a body, and what it gets: a form, a webhook's delivery, or one that nobody wants.

Forms and deliveries are read. What nobody wants is answered at once and let pass afterwards, as far as it is small, so
that the next request is found where it begins. Larger ones are not for here. Knows no socket.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from addon.access.control import MAX_FORM
from addon.admin.webhook import Delivery, Webhook
from addon.serving.answers import Answer, Request, misshapen
from addon.serving.server import PagesServer
from addon.web.request_head import Bodied

BODY_SECONDS = 30.0
"""How long a body may take."""


class RequestBody:
    """A body on its way. State: how much of it is left, and what was kept.

    wanted: whether somebody reads it. passes: whether it is let pass once its request is answered.
    """

    def __init__(self, length: int) -> None:
        """length: bytes."""
        self.left = length
        self.wanted = self.passes = False
        self._take: Callable[[bytes], object] = lambda data: None
        self._complete = asyncio.Event()

    def feed(self, data: bytes) -> int:
        """Take of what arrived what belongs to it; returns how many bytes."""
        mine = data[: self.left]
        if mine:
            self.left -= len(mine)
            self._take(mine)
            if not self.left:
                self._complete.set()
        return len(mine)

    def keep(self, take: Callable[[bytes], object]) -> None:
        """Somebody reads it; to be called before anything is fed."""
        self.wanted = True
        self._take = take

    def end(self) -> None:
        """Nothing more comes."""
        self._complete.set()

    async def all(self) -> None:
        """Wait until all of it was fed. Raises TimeoutError."""
        if self.left:
            async with asyncio.timeout(BODY_SECONDS):
                await self._complete.wait()


def answering(
    bodied: Bodied, body: RequestBody, request: Request, server: PagesServer, webhook: Webhook | None
) -> Callable[[], Awaitable[Answer]] | None:
    """What makes the answer while the body is fed; None where this is not for here: it is too large."""
    if webhook is not None and webhook.takes(request):
        delivery = webhook.delivery(request)
        if isinstance(delivery, Answer):
            body.passes = not bodied.asks and bodied.length <= MAX_FORM
            return _itself(delivery)
        body.keep(delivery.take)
        return lambda: _delivered(body, delivery)
    if bodied.length > MAX_FORM:
        return None
    if _is_form(bodied):
        kept = bytearray()
        body.keep(kept.extend)
        return lambda: _collected(body, lambda: server.answer(replace(request, body=bytes(kept))))
    body.passes = not bodied.asks  # who asks before it sends is not told to, and nobody knows what comes then
    return lambda: server.answer(request)


async def _delivered(body: RequestBody, delivery: Delivery) -> Answer:
    if not body.left:
        delivery.take(b"")
        return await delivery.answer()
    ending = asyncio.ensure_future(_ended(body, delivery))
    try:
        return await delivery.answer()
    finally:
        ending.cancel()


async def _ended(body: RequestBody, delivery: Delivery) -> None:
    await body.all()
    delivery.take(b"")


async def _collected(body: RequestBody, make: Callable[[], Awaitable[Answer]]) -> Answer:
    try:
        await body.all()
    except TimeoutError:
        return misshapen(status=408)
    return await make()


def _itself(answer: Answer) -> Callable[[], Awaitable[Answer]]:
    async def make() -> Answer:
        return answer

    return make


def _is_form(bodied: Bodied) -> bool:
    """Whether a request may be a login."""
    kind = bodied.fields.values.get(b"content-type", b"").strip().lower()
    return bodied.line.method == "POST" and kind.startswith(b"application/x-www-form-urlencoded")
