# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands about the server itself: what it says of itself, settings, memory, slow commands, latency, saving.

What only describes comes as `str`, whatever `decode` says: names of settings, sections of INFO, advice in words.
"""

from __future__ import annotations

import datetime
from typing import Any

from resp.commands.base import B, CommandGroup
from resp.encoding import Argument
from resp.errors import InvalidArgument
from resp.replies import (
    as_latencies,
    as_role,
    as_settings,
    as_slow,
    as_text,
    as_texts,
    as_time,
    as_whole_numbers,
    is_ok,
    parse_info,
    plain_map,
)


class ServerCommands(CommandGroup[B]):
    """The server."""

    __slots__ = ()

    def ping(self, message: Argument | None = None) -> Any:
        """True if the server answers; with a message, the message."""
        if message is not None:
            return self._do(("PING", message))
        return self._do(("PING",), lambda reply: reply in (b"PONG", "PONG"))

    def echo(self, value: Argument) -> B:
        """The value, from the server."""
        return self._do(("ECHO", value))

    def time(self) -> tuple[int, int]:
        """The server's clock: `(Unix seconds, microseconds)`."""
        return self._do(("TIME",), as_time)

    def info(self, section: str | None = None, *args: str) -> dict[str, Any]:
        """What the server says about itself, as `{field: value}`, all sections or some."""
        return self._do(["INFO", *([] if section is None else [section]), *args], parse_info)

    def role(self) -> list[Any]:
        """The server's part in replication: "master" or "slave", and what belongs to it."""
        return self._do(("ROLE",), as_role)

    def lolwut(self, *version_numbers: Argument) -> str:
        """A picture, and the version."""
        return self._do(["LOLWUT", *(["VERSION", *version_numbers] if version_numbers else [])], as_text)

    # ---- databases -----------------------------------------------------------------------------------------------

    def dbsize(self) -> int:
        """How many keys the database has."""
        return self._do(("DBSIZE",))

    def flushdb(self, asynchronous: bool = False) -> bool:
        """Delete every key of this database; True."""
        return self._do(["FLUSHDB", *(["ASYNC"] if asynchronous else [])], is_ok)

    def flushall(self, asynchronous: bool = False) -> bool:
        """Delete every key of every database; True."""
        return self._do(["FLUSHALL", *(["ASYNC"] if asynchronous else [])], is_ok)

    def swapdb(self, first: int, second: int) -> bool:
        """Let two databases change places, for everybody; True."""
        return self._do(("SWAPDB", first, second), is_ok)

    # ---- settings ------------------------------------------------------------------------------------------------

    def config_get(self, pattern: Argument = "*", *args: Argument) -> dict[str, str]:
        """Settings of the server as `{name: value}`."""
        return self._do(["CONFIG", "GET", pattern, *args], as_settings)

    def config_set(self, name: Argument, value: Argument, *args: Argument) -> bool:
        """Change settings of the server; True."""
        return self._do(["CONFIG", "SET", name, value, *args], is_ok)

    def config_resetstat(self) -> bool:
        """Set the counters of INFO to 0; True."""
        return self._do(("CONFIG", "RESETSTAT"), is_ok)

    def config_rewrite(self) -> bool:
        """Let the server write its settings into its file; True."""
        return self._do(("CONFIG", "REWRITE"), is_ok)

    def command_count(self) -> int:
        """How many commands the server knows."""
        return self._do(("COMMAND", "COUNT"))

    def command_list(self, module: str | None = None, category: str | None = None, pattern: str | None = None) -> Any:
        """The names of the commands, of all or as filtered."""
        filters = [(kind, value) for kind, value in (("MODULE", module), ("ACLCAT", category), ("PATTERN", pattern))]
        given = [word for kind, value in filters if value is not None for word in ("FILTERBY", kind, value)]
        if len(given) > 3:
            raise InvalidArgument("only one of module, category and pattern can be given")
        return self._do(["COMMAND", "LIST", *given], as_texts)

    def command_getkeys(self, *args: Argument) -> list[B]:
        """The keys among the words of a command."""
        return self._do(["COMMAND", "GETKEYS", *args])

    # ---- memory, slow commands, latency --------------------------------------------------------------------------

    def memory_stats(self) -> dict[str, Any]:
        """What the server's memory is used for."""
        return self._do(("MEMORY", "STATS"), plain_map)

    def memory_doctor(self) -> str:
        """The server's advice about its memory."""
        return self._do(("MEMORY", "DOCTOR"), as_text)

    def memory_malloc_stats(self) -> str:
        """What the allocator says."""
        return self._do(("MEMORY", "MALLOC-STATS"), as_text)

    def memory_purge(self) -> bool:
        """Let the allocator give back what it can; True."""
        return self._do(("MEMORY", "PURGE"), is_ok)

    def slowlog_get(self, num: int | None = None) -> list[dict[str, Any]]:
        """The last slow commands: `id`, `start_time`, `duration` in microseconds, `command` in bytes, who sent it."""
        return self._do(["SLOWLOG", "GET", *([] if num is None else [num])], as_slow)

    def slowlog_len(self) -> int:
        """How many slow commands are remembered."""
        return self._do(("SLOWLOG", "LEN"))

    def slowlog_reset(self) -> bool:
        """Forget the slow commands; True."""
        return self._do(("SLOWLOG", "RESET"), is_ok)

    def latency_latest(self) -> list[tuple[Any, ...]]:
        """For each event: its name, when it was last (Unix seconds), the last and the highest delay (ms), …"""
        return self._do(("LATENCY", "LATEST"), as_latencies)

    def latency_history(self, event: str) -> list[tuple[Any, ...]]:
        """The delays of an event: `(Unix seconds, ms)`."""
        return self._do(("LATENCY", "HISTORY", event), as_latencies)

    def latency_reset(self, *events: str) -> int:
        """Forget the delays of some events, or all; how many there were."""
        return self._do(["LATENCY", "RESET", *events])

    def latency_doctor(self) -> str:
        """The server's advice about delays."""
        return self._do(("LATENCY", "DOCTOR"), as_text)

    def latency_histogram(self, *commands: str) -> dict[str, Any]:
        """How long commands took: for each its calls, and how many took up to so many microseconds."""
        return self._do(["LATENCY", "HISTOGRAM", *commands], _histogram)

    # ---- saving and replication ----------------------------------------------------------------------------------

    def save(self) -> bool:
        """Save to disk while everybody waits; True."""
        return self._do(("SAVE",), is_ok)

    def bgsave(self, schedule: bool = True) -> bool:
        """Begin to save to disk in the background, or as soon as that is possible; True."""
        return self._do(["BGSAVE", *(["SCHEDULE"] if schedule else [])], lambda _: True)

    def bgrewriteaof(self) -> bool:
        """Begin to write the append-only file anew; True."""
        return self._do(("BGREWRITEAOF",), lambda _: True)

    def lastsave(self) -> datetime.datetime:
        """When the data was last saved, in local time as redis-py has it."""
        return self._do(("LASTSAVE",), datetime.datetime.fromtimestamp)

    def wait(self, num_replicas: int, timeout: int) -> int:
        """How many replicas have what this connection wrote, after `timeout` milliseconds at most, 0 for ever.

        What was written over another connection of the pool does not count: put both into one pipeline.
        """
        return self._wait(timeout / 1000, ("WAIT", num_replicas, timeout))

    def waitaof(self, num_local: int, num_replicas: int, timeout: int) -> list[int]:
        """The same for being on disk, here and at replicas: `[1 or 0, replicas]` (Redis 7.2)."""
        return self._wait(timeout / 1000, ("WAITAOF", num_local, num_replicas, timeout), as_whole_numbers)

    def replicaof(self, host: str, port: Argument) -> bool:
        """Make the server a replica of another one, or a master with `("NO", "ONE")`; True."""
        return self._do(("REPLICAOF", host, port), is_ok)

    def debug_object(self, key: Argument) -> str:
        """What the server's developers want to know about a value."""
        return self._do(("DEBUG", "OBJECT", key), as_text)


def _histogram(reply: Any) -> dict[str, Any]:
    found = plain_map(reply)
    return {name: plain_map(item) if isinstance(item, list) else item for name, item in found.items()}
