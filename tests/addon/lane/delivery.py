# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A webhook and what Forgejo delivers to it."""

import hashlib
import hmac
import json

from addon.admin.webhook import Webhook
from addon.settings.schema import Settings
from addon.shared.lookup import Key

SECRET = "s" * 32


class Delivery:
    """A push to Alice/Blog, signed, for `webhook`. purged: the repositories that it was taken for."""

    def __init__(self, **more: str) -> None:
        """more: what the body says besides."""
        options = {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:1", "webhookSecret": SECRET}
        settings = Settings.from_mapping(options, environ={"HOME": "/nowhere"})
        self.purged: list[Key] = []
        self.webhook = Webhook(settings, self._purge)
        self.path = settings.webhook_path
        self.body = json.dumps({"repository": {"full_name": "Alice/Blog"}, **more}).encode()
        signature = hmac.new(SECRET.encode(), self.body, hashlib.sha256).hexdigest()
        self.fields = (("x-forgejo-signature", signature), ("x-forgejo-event", "push"))

    async def _purge(self, key: Key) -> None:
        self.purged.append(key)
