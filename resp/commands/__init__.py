# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The commands of Redis and Valkey, named as redis-py names them, a room for each kind.

`strings` · `bitmaps` (and HyperLogLogs) · `keys` · `hashes` · `lists` · `sets` · `sorted_sets` · `streams` · `geo` ·
`scripting` · `messages` · `server` · `connections` (and users) are turned into one class by `client_commands`:
`Commands`, for whatever sends or queues one command per call, and `ClientCommands`, for clients, with what takes more
than one. Each method names its words, and how its reply is to be read (`resp.replies`); none knows a socket.
"""

from resp.commands.base import B, CommandGroup, MayAnswer
from resp.commands.client_commands import ClientCommands, Commands
from resp.commands.locks import Lock
from resp.commands.scripting import Script

__all__ = ["B", "ClientCommands", "CommandGroup", "Commands", "Lock", "MayAnswer", "Script"]
