# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The webhook: Forgejo or Gitea says that something happened to a repository, and every proxy looks again.

Of what it says only the repository's name is believed, and only once the signature (HMAC-SHA256 of the JSON, in both
forms of delivery) is right. Nothing is looked at while Forgejo waits, which gives up after 5 s and never tries again.
The surprise: neither the branch nor the commit in it counts. Deliveries come late, in any order, and twice; a look at
the forge is always right. Whoever has not yet signed anything here is a stranger, with one place, 1 MiB and 5 s; of
strangers, the one silent longest makes room, so that nobody can hold the door.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import unquote_to_bytes

from addon.access.guess_limits import Bounded
from addon.access.visitors import visitor_of
from addon.forgejo.answers import is_name
from addon.serving.answers import Answer, Request
from addon.settings.schema import Settings
from addon.shared.lookup import Key
from addon.web.routing import host_name

logger = logging.getLogger(__name__)

LARGEST = 25 * 1024 * 1024
AT_ONCE = 4
"""Deliveries of those who have signed before that are read at one time."""
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
_PAYLOAD = re.compile(rb"(?:\A|&)payload=([^&]*)")
_PIECE = 16 * 1024
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
        length = request.header(b"content-length") or b"0"
        visitor = visitor_of(request.visitor().address)
        known = visitor in self._known
        most = LARGEST if known else LARGEST_OF_STRANGERS
        if not re.fullmatch(rb"[0-9]{1,9}", length) or int(length) > most:
            self.outcomes["too large"] += 1
            return told(413, _too_large(most))
        if not (self._room() if known else self._strangers_room(visitor)):
            self.outcomes["too many at once"] += 1
            answer = told(503, "too many deliveries at once")
            answer.headers.append((b"Retry-After", b"1"))
            return answer
        kind = next((value for name in _KINDS if (value := request.header(name))), b"")
        form = (request.header(b"content-type") or b"").partition(b";")[0].strip().lower()
        delivery = Delivery(
            self,
            visitor,
            digest.decode(),
            kind.decode("latin-1"),
            form == b"application/x-www-form-urlencoded",
            most,
            _PATIENCE if known else _STRANGERS_PATIENCE,
        )
        if known:
            self._reading.add(delivery)
        else:
            self._strangers[visitor] = delivery
        return delivery

    def _room(self) -> bool:
        return len(self._reading) < AT_ONCE

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

    def answer(self, delivery: "Delivery", expected: str, kind: str, payload: bytes) -> Answer:
        """What a delivery gets; a look begins. expected: the signature; payload: the JSON, if it is that."""
        if self._secret is None or not hmac.compare_digest(expected, delivery.signature):
            self.outcomes["wrong signature"] += 1
            self.wrong_at = time.time()
            logger.warning("webhook: %s", _WRONG)
            return told(403, _WRONG)
        self._known.put(delivery.visitor, None)
        key = repository_in(payload)
        if key is None:
            self.outcomes["not understood"] += 1
            return told(400, "expected JSON with a repository")
        looks = kind in self._events and (kind not in _OF_PULLS or action_in(payload) in _ACTIONS)
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
        self, webhook: Webhook, visitor: str, signature: str, kind: str, form: bool, most: int, patience: float
    ) -> None:
        """visitor: who sends it. most: bytes of the body; patience: seconds for it."""
        self.visitor = visitor
        self.signature = signature
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
            payload = bytes(self._body)
            if self._form:
                # On a thread: nobody has signed this yet, and a large form made to hurt takes seconds.
                payload = await asyncio.to_thread(form_payload, payload)
                self._digest.update(payload)
            return self._webhook.answer(self, self._digest.hexdigest(), self._kind, payload)
        except TimeoutError:
            self._webhook.outcomes["not read"] += 1
            return told(408, "the body did not come")
        finally:
            self.end()

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


def form_payload(body: bytes) -> bytes:
    """The first field `payload` of an urlencoded form, or nothing; piece by piece, or it took 35 times its room."""
    match = _PAYLOAD.search(body)
    text = match[1] if match is not None else b""
    pieces: list[bytes] = []
    at = 0
    while at < len(text):
        piece = text[at : at + _PIECE]
        cut = piece.find(b"%", _PIECE - 2)  # an escape that goes on in the next piece
        piece = piece if cut < 0 else piece[:cut]
        pieces.append(unquote_to_bytes(piece.replace(b"+", b" ")))
        at += len(piece)
    return b"".join(pieces)


def repository_in(payload: bytes) -> Key | None:
    """The repository that an event is about, by the name in it."""
    try:
        document = json.loads(payload)
        owner, slash, name = document["repository"]["full_name"].partition("/")
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return None
    return (owner.lower(), name.lower()) if slash and is_name(owner) and is_name(name) else None


def action_in(payload: bytes) -> str:
    """What was done, by an event that is about something; payload: as `repository_in` has read it."""
    action = json.loads(payload).get("action")
    return action if type(action) is str else ""


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
