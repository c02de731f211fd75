# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands for Lua scripts and for functions; and `Script`, a script that is called like a function.

The SHA-1 of a `Script` is known without the server, so a call is one EVALSHA; a server that does not have the script
(it restarted, or is another node) gets the whole of it with EVAL, and knows it from then on. Surprising: in a pipeline
it is always sent whole. Whether EVALSHA would have found it is known only when the other commands of the pipeline have
run already, and a script that is missing there could not be made up for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from resp.command_arguments import at_least_one, one_of
from resp.commands.base import B, CommandGroup
from resp.encoding import Argument
from resp.errors import NoScript
from resp.replies import as_bools, as_bytes, as_function_stats, as_libraries, as_text, is_ok


class Scripting(CommandGroup[B]):
    """Scripts and functions; the first `numkeys` arguments are keys."""

    __slots__ = ()

    def eval(self, script: Argument, numkeys: int, *keys_and_args: Argument) -> Any:
        """Run a Lua script."""
        return self._do(["EVAL", script, numkeys, *keys_and_args])

    def eval_ro(self, script: Argument, numkeys: int, *keys_and_args: Argument) -> Any:
        """Run a script that only reads, on a replica if need be."""
        return self._do(["EVAL_RO", script, numkeys, *keys_and_args])

    def evalsha(self, sha: Argument, numkeys: int, *keys_and_args: Argument) -> Any:
        """Run a script that the server knows by its SHA-1; raises NoScript if it does not."""
        return self._do(["EVALSHA", sha, numkeys, *keys_and_args])

    def evalsha_ro(self, sha: Argument, numkeys: int, *keys_and_args: Argument) -> Any:
        """The same for a script that only reads."""
        return self._do(["EVALSHA_RO", sha, numkeys, *keys_and_args])

    def script_load(self, script: Argument) -> str:
        """Give a script to the server; its SHA-1 as str."""
        return self._do(("SCRIPT", "LOAD", script), as_text)

    def script_exists(self, *shas: Argument) -> list[bool]:
        """For each SHA-1 whether the server knows the script."""
        return self._do(["SCRIPT", "EXISTS", *at_least_one(list(shas), "SHA-1")], as_bools)

    def script_flush(self, sync_type: str | None = None) -> bool:
        """Let the server forget all scripts, "SYNC" or "ASYNC"; True."""
        more: list[Argument] = [] if sync_type is None else [one_of(sync_type, "SYNC", "ASYNC")]
        return self._do(["SCRIPT", "FLUSH", *more], is_ok)

    def script_kill(self) -> bool:
        """Stop the script that is running, if it has written nothing; True."""
        return self._do(("SCRIPT", "KILL"), is_ok)

    # ---- functions (Redis 7.0) -----------------------------------------------------------------------------------

    def fcall(self, function: Argument, numkeys: int, *keys_and_args: Argument) -> Any:
        """Call a function."""
        return self._do(["FCALL", function, numkeys, *keys_and_args])

    def fcall_ro(self, function: Argument, numkeys: int, *keys_and_args: Argument) -> Any:
        """Call a function that only reads, on a replica if need be."""
        return self._do(["FCALL_RO", function, numkeys, *keys_and_args])

    def function_load(self, code: Argument, replace: bool = False) -> str:
        """Give a library to the server; its name."""
        return self._do(["FUNCTION", "LOAD", *(["REPLACE"] if replace else []), code], as_text)

    def function_delete(self, library: Argument) -> bool:
        """Remove a library; True."""
        return self._do(("FUNCTION", "DELETE", library), is_ok)

    def function_flush(self, mode: str = "SYNC") -> bool:
        """Remove all libraries, "SYNC" or "ASYNC"; True."""
        return self._do(("FUNCTION", "FLUSH", one_of(mode, "SYNC", "ASYNC")), is_ok)

    def function_list(self, library: Argument = "*", withcode: bool = False) -> list[dict[str, Any]]:
        """The libraries whose names match, with their functions."""
        args: list[Argument] = ["FUNCTION", "LIST", "LIBRARYNAME", library]
        return self._do(args + (["WITHCODE"] if withcode else []), as_libraries)

    def function_dump(self) -> bytes:
        """All libraries in the server's own form, for `function_restore`; bytes with `decode=True` too."""
        return self._do(("FUNCTION", "DUMP"), as_bytes)

    def function_restore(self, payload: Argument, policy: str = "APPEND") -> bool:
        """Bring back libraries; True. policy: "APPEND", "FLUSH" (remove all others) or "REPLACE"."""
        return self._do(("FUNCTION", "RESTORE", payload, one_of(policy, "APPEND", "FLUSH", "REPLACE")), is_ok)

    def function_stats(self) -> dict[str, Any]:
        """The function that is running, if any, and what engines there are."""
        return self._do(("FUNCTION", "STATS"), as_function_stats)

    def function_kill(self) -> bool:
        """Stop the function that is running, if it has written nothing; True."""
        return self._do(("FUNCTION", "KILL"), is_ok)


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
