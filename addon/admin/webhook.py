# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The webhook: Forgejo or Gitea says that something happened to a repository, and every proxy looks again.

Of what it says only the repository's name is believed, and only once the signature (HMAC-SHA256 of the JSON, in both
forms of delivery) is right. Nothing is looked at while Forgejo waits, which gives up after 5 s and never tries again.
The surprise: neither the branch nor the commit in it counts. Deliveries come late, in any order, and twice; a look at
the forge is always right. Whoever has not yet signed anything here is a stranger, with one place, 1 MiB and 5 s; of
strangers, the one silent longest makes room, so that nobody can hold the door. Of those who have, bytes are counted and
not deliveries: a forge that tells of fifty pushes in one moment is heard. What is large is read in turn, on a thread.
"""

import asyncio
import hashlib
import hmac
import logging
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Final

from addon.access.guess_limits import Bounded
from addon.access.visitors import visitor_of
from addon.admin.webhook_payload import Event, event_in, form_payload
from addon.forgejo.answers import is_name
from addon.net.fair_queue import FairQueue, Party, TooLate
from addon.serving.answers import Answer, Request
from addon.settings.schema import Settings
from addon.shared.lookup import Key
from addon.web.routing import host_name

logger = logging.getLogger(__name__)

LARGEST = 25 * 1024 * 1024
MOST_AT_ONCE: Final = 4 * LARGEST
"""Bytes of all deliveries together that are read at one time, of those who have signed before."""
STRANGERS = 16
LARGEST_OF_STRANGERS = 1024 * 1024
_PATIENCE = 30.0
"""Seconds that a body may take."""
_STRANGERS_PATIENCE = 5.0
_SILENT = 1.0
"""Seconds of silence after which a stranger's place may go to the next delivery from the same address."""
_MOST_KNOWN = 1000
_EVENTS = frozenset({"push", "create", "delete", "repository"})
_OF_PULLS = frozenset(
    {
        "pull_request",
        "pull_request_sync",
        "pull_request_label",
        "pull_request_approved",
        "pull_request_rejected",
        "pull_request_review_approved",
        "pull_request_review_rejected",
    }
)
"""What previews of pull requests depend on, by the long names and the short; comments and the like are not."""
_ACTIONS = frozenset({"opened", "synchronized", "reopened", "closed", "label_updated", "label_cleared", "reviewed"})
"""Of those, what changes a preview: anybody may edit a text of theirs as often as they like."""
_SIGNATURES = (b"x-forgejo-signature", b"x-gitea-signature", b"x-hub-signature-256")
_READ_AT_ONCE = 16 * 1024
"""Bytes of a body that is read on the loop; a larger one waits for its turn."""
_PRICED = 64 * 1024
"""Bytes of price 1, so of one turn."""
_TURN_PATIENCE = 4.0
_WRONG = "the signature is wrong: is webhookSecret the secret of Forgejo's webhook?"
_KINDS = (
    b"x-forgejo-event",
    b"x-gitea-event",
    b"x-github-event",
    b"x-forgejo-event-type",
    b"x-gitea-event-type",
    b"x-github-event-type",
)
"""Where the kind of an event stands; the first that is not empty counts (Forgejo 16 leaves some empty)."""


class Webhook:
    """Takes deliveries. State: those being read, who has signed one before, and the looks that they caused."""

    def __init__(self, settings: Settings, purge: Callable[[Key], Coroutine[Any, Any, object]]) -> None:
        secret = settings.webhook_secret
        self._secret = None if secret is None else secret.reveal().encode()
        self._path = settings.webhook_path
        self._host = settings.pages_domain
        self._purge = purge
        self._events = _EVENTS | _OF_PULLS if settings.preview_domain is not None else _EVENTS
        self._known: Bounded[str, None] = Bounded(_MOST_KNOWN)
        self._reading: set[Delivery] = set()
        self._strangers: dict[str, Delivery] = {}
        self._looks: set[asyncio.Task[object]] = set()
        self._turns = FairQueue(1, expected=0.002)
        self.outcomes: Counter[str] = Counter()
        """How many deliveries were accepted, ignored, unsigned, wrong, or not read, and why."""
        self.accepted_at = self.wrong_at = 0.0
        """When the last delivery came with a right signature, and with a wrong one, in seconds since 1970."""
        self.pushed: Callable[[Key], object] = lambda key: None
        """Told of each repository that a look follows for."""

    def takes(self, request: Request) -> bool:
        """Whether a request is a delivery: by its address and method, and only where there is a secret."""
        return (
            self._secret is not None
            and request.method == "POST"
            and request.path == self._path
            and host_name(request.host or "") == self._host
        )

    def delivery(self, request: Request) -> "Delivery | Answer":
        """A delivery whose body is to be read, or why it is not."""
        signature = next((value for name in _SIGNATURES if (value := request.header(name))), b"")
        digest = signature.removeprefix(b"sha256=")
        if not re.fullmatch(rb"[0-9a-f]{64}", digest):
            self.outcomes["unsigned"] += 1
            return told(401, "expected the header X-Forgejo-Signature: set the webhook's secret in Forgejo")
        length = request.header(b"content-length")
        visitor = visitor_of(request.visitor().address)
        known = visitor in self._known
        most = LARGEST if known else LARGEST_OF_STRANGERS
        if length is not None and (not re.fullmatch(rb"[0-9]{1,9}", length) or int(length) > most):
            self.outcomes["too large"] += 1
            return told(413, _too_large(most))
        size = most if length is None else int(length)
        if not (self._room(size) if known else self._strangers_room(visitor)):
            self.outcomes["too many at once"] += 1
            return _later(1)
        kind = next((value for name in _KINDS if (value := request.header(name))), b"")
        form = (request.header(b"content-type") or b"").partition(b";")[0].strip().lower()
        delivery = Delivery(
            self,
            visitor,
            digest.decode(),
            kind.decode("latin-1"),
            form == b"application/x-www-form-urlencoded",
            most,
            size,
            _PATIENCE if known else _STRANGERS_PATIENCE,
        )
        if known:
            self._reading.add(delivery)
        else:
            self._strangers[visitor] = delivery
        return delivery

    def _room(self, size: int) -> bool:
        return sum(delivery.size for delivery in self._reading) + size <= MOST_AT_ONCE

    def _strangers_room(self, visitor: str) -> bool:
        """Whether a stranger may have a place; another one may have to leave for it."""
        mine = self._strangers.get(visitor)
        if mine is not None:
            if mine.silent < _SILENT:
                return False
            mine.cut()
        elif len(self._strangers) >= STRANGERS:
            max(self._strangers.values(), key=lambda delivery: delivery.silent).cut()
        return True

    def ended(self, delivery: "Delivery") -> None:
        """A delivery was read, or its sender went away."""
        self._reading.discard(delivery)
        if self._strangers.get(delivery.visitor) is delivery:
            del self._strangers[delivery.visitor]

    def digest(self) -> "hmac.HMAC":
        """To be fed with what is signed."""
        return hmac.new(self._secret or b"", digestmod=hashlib.sha256)

    @property
    def queues(self) -> dict[str, FairQueue]:
        """Where large deliveries wait to be read, by name."""
        return {"webhooks": self._turns}

    async def read(self, delivery: "Delivery", body: bytearray) -> Event | None:
        """What a delivery says; None where it is not what its signature says. Raises TooLate."""
        if len(body) <= _READ_AT_ONCE:
            return delivery.read(body)
        async with self._turns.turn(_TURN_PATIENCE, len(body) / _PRICED, party=Party(delivery.visitor)):
            return await asyncio.to_thread(delivery.read, body)

    def answer(self, delivery: "Delivery", kind: str, event: Event | None) -> Answer:
        """What a delivery gets; a look begins. event: what it says, as `read` found it."""
        if self._secret is None or event is None:
            self.outcomes["wrong signature"] += 1
            self.wrong_at = time.time()
            logger.warning("webhook: %s", _WRONG)
            return told(403, _WRONG)
        self._known.put(delivery.visitor, None)
        key = event.repository
        if key is None:
            self.outcomes["not understood"] += 1
            return told(400, "expected JSON with a repository")
        looks = kind in self._events and (kind not in _OF_PULLS or event.action in _ACTIONS)
        self.outcomes["accepted" if looks else "ignored"] += 1
        self.accepted_at = time.time()
        if looks:
            logger.info("webhook: %s of %s/%s", kind, *key)
            self.pushed(key)
            look = asyncio.ensure_future(self._purge(key))
            self._looks.add(look)
            look.add_done_callback(self._looked)
        return Answer(202, [(b"Content-Length", b"0"), (b"Cache-Control", b"no-store")])

    def _looked(self, look: "asyncio.Task[object]") -> None:
        self._looks.discard(look)
        if not look.cancelled() and (error := look.exception()) is not None:
            logger.error("refreshing a repository after a webhook failed", exc_info=error)


class Delivery:
    """A delivery as its body comes in."""

    def __init__(
        self,
        webhook: Webhook,
        visitor: str,
        signature: str,
        kind: str,
        form: bool,
        most: int,
        size: int,
        patience: float,
    ) -> None:
        """visitor: who sends it. most: bytes that it may have; size: as many as it says; patience: seconds for them."""
        self.visitor = visitor
        self.size = size
        self._signature = signature
        self._webhook = webhook
        self._kind = kind
        self._form = form
        self._most = most
        self._patience = patience
        self._digest = webhook.digest()
        self._body: bytearray | None = bytearray()
        self._complete = asyncio.Event()
        self._open = True
        self._cut = False
        self._heard = time.monotonic()
        # Whose sender goes away before the answer is asked for is over then, too.
        asyncio.get_running_loop().call_later(3 * patience, self.end)

    @property
    def silent(self) -> float:
        """Seconds since the last part came."""
        return time.monotonic() - self._heard

    def take(self, chunk: bytes) -> list[bytes]:
        """Keep a part of the body; an empty one ends it. Passes nothing on, in mitmproxy's way of saying it."""
        self._heard = time.monotonic()
        if not chunk:
            self._complete.set()
        elif self._body is not None:
            self._body += chunk
            if len(self._body) > self._most:
                self._body = None
            elif not self._form:  # of a form, what is signed is known at its end alone
                self._digest.update(chunk)
        return []

    async def answer(self) -> Answer:
        """The answer, once the body is there."""
        try:
            async with asyncio.timeout(self._patience):
                await self._complete.wait()
            if self._cut:
                return told(503, "others waited while you were silent")
            if self._body is None:
                return told(413, _too_large(self._most))
            return self._webhook.answer(self, self._kind, await self._webhook.read(self, self._body))
        except TooLate as late:
            self._webhook.outcomes["too many at once"] += 1
            return _later(math.ceil(late.retry_after))
        except TimeoutError:
            self._webhook.outcomes["not read"] += 1
            return told(408, "the body did not come")
        finally:
            self.end()

    def read(self, body: bytearray) -> Event | None:
        """What the body says; None where it is not what was signed. Nobody has signed it until then."""
        payload = bytes(body)
        if self._form:
            payload = form_payload(payload)
            self._digest.update(payload)
        return event_in(payload) if hmac.compare_digest(self._digest.hexdigest(), self._signature) else None

    def cut(self) -> None:
        """Give it up: another one has its place."""
        self._cut, self._body = True, None
        self._complete.set()
        self.end()

    def end(self) -> None:
        """It is over, however it ended."""
        if self._open:
            self._open = False
            self._webhook.ended(self)


def _too_large(most: int) -> str:
    more = "" if most == LARGEST else "; 25 MiB from where a smaller one came that was signed rightly"
    return f"expected at most {most // (1024 * 1024)} MiB{more}"


def written(method: str, path: str) -> Key | None:
    """The repository that a request to Forgejo's own host changes, if Forgejo takes it: a push, or a write to the API.

    What else is sent there (forms, searches, git's own questions by POST) changes nothing, or a webhook says so.
    """
    path = path.partition("?")[0]
    if method == "POST" and path.endswith("/git-receive-pack"):
        found = re.match(r"/([^/]+)/([^/]+?)(?:\.git)?/git-receive-pack\Z", path)
    elif method in ("POST", "PUT", "PATCH", "DELETE"):
        found = re.match(r"/api/v1/repos/([^/]+)/([^/]+?)(?:\.git)?(?:/|\Z)", path)
    else:
        return None
    key = None if found is None else (found[1].lower(), found[2].lower())
    return key if key is not None and is_name(key[0]) and is_name(key[1]) else None


def told(status: int, reason: str) -> Answer:
    """A plain answer for whoever looks at Forgejo's list of deliveries."""
    body = f"{reason}\n".encode()
    headers = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Content-Length", str(len(body)).encode())]
    return Answer(status, [*headers, (b"Cache-Control", b"no-store")], body)


def _later(seconds: int) -> Answer:
    answer = told(503, "too many deliveries at once")
    answer.headers.append((b"Retry-After", b"%d" % seconds))
    return answer
