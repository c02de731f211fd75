# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The webhook: Forgejo or Gitea says that something happened to a repository, and every proxy looks again.

Of what it says only the repository's name is believed, and only once the signature (HMAC-SHA256 of the JSON, in both
forms of delivery) is right. Nothing is looked at while Forgejo waits, which gives up after 5 s and never tries again.
The surprise: neither the branch nor the commit in it counts. Deliveries come late, in any order, and twice; a look at
the forge is always right.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import re
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import unquote_to_bytes

from addon.forgejo.answers import is_name
from addon.serving.answers import Answer, Request
from addon.settings.schema import Settings
from addon.shared.lookup import Key
from addon.web.routing import host_name

logger = logging.getLogger(__name__)

LARGEST = 25 * 1024 * 1024
AT_ONCE = 4
_PATIENCE = 30.0
"""Seconds that a body may take."""
_READ_BY_POST = ("/git-upload-pack", "/info/lfs/objects/batch")
"""What git asks for by POST to fetch; LFS uploads begin so, too, but a push follows."""
_EVENTS = frozenset({"push", "create", "delete", "repository"})
_SIGNATURES = (b"x-forgejo-signature", b"x-gitea-signature", b"x-hub-signature-256")
_PAYLOAD = re.compile(rb"(?:\A|&)payload=([^&]*)")
_PIECE = 16 * 1024
_KINDS = (b"x-forgejo-event", b"x-gitea-event", b"x-github-event")


class Webhook:
    """Takes deliveries. State: how many are being read, and the looks that they caused."""

    def __init__(self, settings: Settings, purge: Callable[[Key], Coroutine[Any, Any, object]]) -> None:
        secret = settings.webhook_secret
        self._secret = None if secret is None else secret.reveal().encode()
        self._path = settings.webhook_path
        self._host = settings.pages_domain
        self._purge = purge
        self._reading = 0
        self._looks: set[asyncio.Task[object]] = set()

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
            return told(401, "expected the header X-Forgejo-Signature: set the webhook's secret in Forgejo")
        length = request.header(b"content-length") or b"0"
        if not re.fullmatch(rb"[0-9]{1,9}", length) or int(length) > LARGEST:
            return told(413, "expected at most 25 MiB")
        if self._reading >= AT_ONCE:
            answer = told(503, "too many deliveries at once")
            answer.headers.append((b"Retry-After", b"1"))
            return answer
        kind = next((value for name in _KINDS if (value := request.header(name))), b"")
        form = (request.header(b"content-type") or b"").partition(b";")[0].strip().lower()
        self._reading += 1
        return Delivery(self, digest.decode(), kind.decode("latin-1"), form == b"application/x-www-form-urlencoded")

    def ended(self) -> None:
        """A delivery was read, or its sender went away."""
        self._reading -= 1

    def answer(self, digest: str, kind: str, payload: bytes) -> Answer:
        """What a delivery gets; a look begins. payload: the JSON, if it is that."""
        expected = hmac.new(self._secret or b"", payload, hashlib.sha256).hexdigest()
        if self._secret is None or not hmac.compare_digest(expected, digest):
            return told(403, "the signature is wrong: is webhookSecret the secret of Forgejo's webhook?")
        key = repository_in(payload)
        if key is None:
            return told(400, "expected JSON with a repository")
        if kind in _EVENTS:
            logger.info("webhook: %s of %s/%s", kind, *key)
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

    def __init__(self, webhook: Webhook, digest: str, kind: str, form: bool) -> None:
        self._webhook = webhook
        self._digest = digest
        self._kind = kind
        self._form = form
        self._body: bytearray | None = bytearray()
        self._complete = asyncio.Event()
        self._open = True
        # Whose sender goes away before the answer is asked for is over then, too.
        asyncio.get_running_loop().call_later(3 * _PATIENCE, self.end)

    def take(self, chunk: bytes) -> list[bytes]:
        """Keep a part of the body; an empty one ends it. Passes nothing on, in mitmproxy's way of saying it."""
        if not chunk:
            self._complete.set()
        elif self._body is not None:
            self._body += chunk
            if len(self._body) > LARGEST:
                self._body = None
        return []

    async def answer(self) -> Answer:
        """The answer, once the body is there."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._complete.wait()
            if self._body is None:
                return told(413, "expected at most 25 MiB")
            body = bytes(self._body)
            # On a thread: nobody has signed this yet, and a large form made to hurt takes seconds.
            payload = await asyncio.to_thread(form_payload, body) if self._form else body
            return self._webhook.answer(self._digest, self._kind, payload)
        except TimeoutError:
            return told(408, "the body did not come")
        finally:
            self.end()

    def end(self) -> None:
        """It is over, however it ended."""
        if self._open:
            self._open = False
            self._webhook.ended()


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


def written(method: str, path: str) -> Key | None:
    """The repository that a request to Forgejo's own host may have changed, had it success."""
    if method in ("GET", "HEAD", "OPTIONS") or path.partition("?")[0].endswith(_READ_BY_POST):
        return None
    found = re.match(r"(?:/api/v1/repos)?/([^/?]+)/([^/?]+?)(?:\.git)?(?:[/?]|\Z)", path)
    key = None if found is None else (found[1].lower(), found[2].lower())
    return key if key is not None and is_name(key[0]) and is_name(key[1]) else None


def told(status: int, reason: str) -> Answer:
    """A plain answer for whoever looks at Forgejo's list of deliveries."""
    body = f"{reason}\n".encode()
    headers = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Content-Length", str(len(body)).encode())]
    return Answer(status, [*headers, (b"Cache-Control", b"no-store")], body)
