# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`Script`: a Lua script that is called like a function.

Its SHA-1 is known without the server, so a call is one EVALSHA; a server that does not have the script (it restarted,
or is another node) gets the whole of it with EVAL, and knows it from then on. Surprising: in a pipeline it is always
sent whole. Whether EVALSHA would have found it is known only when the other commands of the pipeline have run already,
and a script that is missing there could not be made up for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from resp.errors import NoScript
from resp.protocol import Argument

if TYPE_CHECKING:
    from resp.commands import CommandGroup


class Script:
    """A script, made by `Client.register_script`.

        take = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
        take(keys=["stock"], args=[-1])                      # 41
        take(["stock"], [-1], client=pipe)                   # queued in a pipeline

    `sha` is its SHA-1 as str, `script` its text.
    """

    def __init__(self, registered_client: CommandGroup[Any], script: str | bytes) -> None:
        self.registered_client = registered_client
        self.script = script
        source = script.encode("utf-8", "surrogateescape") if isinstance(script, str) else bytes(script)
        # The server's name for a script, nothing that is to be secret.
        self.sha = hashlib.sha1(source, usedforsecurity=False).hexdigest()

    def __repr__(self) -> str:
        return f"<Script {self.sha}>"

    def __call__(
        self, keys: Iterable[Argument] = (), args: Iterable[Argument] = (), client: CommandGroup[Any] | None = None
    ) -> Any:
        """Run the script with KEYS and ARGV; client: another one than it was registered with, or a pipeline."""
        who = self.registered_client if client is None else client
        names = list(keys)
        words: list[Argument] = [len(names), *names, *args]
        if not who._answers:
            return who._do(["EVAL", self.script, *words])
        try:
            return who._do(["EVALSHA", self.sha, *words])
        except NoScript:
            return who._do(["EVAL", self.script, *words])
