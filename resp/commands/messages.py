# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands that publish messages and tell who listens; listening itself is `resp.PubSub`."""

from __future__ import annotations

from resp.commands.base import B, CommandGroup
from resp.encoding import Argument
from resp.replies import as_counts


class Messages(CommandGroup[B]):
    """Publishing."""

    __slots__ = ()

    def publish(self, channel: Argument, message: Argument) -> int:
        """Send a message to all who subscribed to a channel; how many got it."""
        return self._do(("PUBLISH", channel, message))

    def spublish(self, shard_channel: Argument, message: Argument) -> int:
        """The same for a sharded channel."""
        return self._do(("SPUBLISH", shard_channel, message))

    def pubsub_channels(self, pattern: Argument = "*") -> list[B]:
        """The channels that somebody subscribed to."""
        return self._do(("PUBSUB", "CHANNELS", pattern))

    def pubsub_shardchannels(self, pattern: Argument = "*") -> list[B]:
        """The sharded channels that somebody subscribed to."""
        return self._do(("PUBSUB", "SHARDCHANNELS", pattern))

    def pubsub_numpat(self) -> int:
        """How many patterns are subscribed to."""
        return self._do(("PUBSUB", "NUMPAT"))

    def pubsub_numsub(self, *args: Argument) -> list[tuple[B, int]]:
        """For each channel how many subscribed to it, as `[(channel, number), …]`."""
        return self._do(["PUBSUB", "NUMSUB", *args], as_counts)

    def pubsub_shardnumsub(self, *args: Argument) -> list[tuple[B, int]]:
        """The same for sharded channels."""
        return self._do(["PUBSUB", "SHARDNUMSUB", *args], as_counts)
