# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands for Lua scripts and for functions. `Client.register_script` is the easy way to a script."""

from __future__ import annotations

from typing import Any

from resp.commands.base import B, CommandGroup
from resp.protocol import Argument
from resp.replies import as_bools, as_bytes, as_function_stats, as_libraries, as_text, is_ok
from resp.words import at_least_one, one_of


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
