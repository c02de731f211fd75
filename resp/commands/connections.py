# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands about connections and users: CLIENT and ACL.

What changes the connection it is sent over (CLIENT REPLY, TRACKING, NO-EVICT …) has no method here, since the pool
would hand that connection to somebody else; `execute_command` takes it, and the connection is then not used again.
"""

from __future__ import annotations

from typing import Any

from resp.command_arguments import at_least_one
from resp.commands.base import B, CommandGroup
from resp.encoding import Argument
from resp.errors import InvalidArgument
from resp.replies import (
    as_clients,
    as_text,
    as_texts,
    as_this_client,
    as_user,
    is_ok,
    plain_map,
    text_or_none,
)


class Connections(CommandGroup[B]):
    """Connections and users."""

    __slots__ = ()

    def client_id(self) -> int:
        """The number of the connection that was used; another call may use another one."""
        return self._do(("CLIENT", "ID"))

    def client_info(self) -> dict[str, str]:
        """What the server knows about the connection that was used, as a dict of texts."""
        return self._do(("CLIENT", "INFO"), as_this_client)

    def client_list(self, _type: str | None = None, client_id: list[int] | None = None) -> list[dict[str, str]]:
        """All connections of the server as dicts of texts; `_type` is "normal", "master", "replica" or "pubsub"."""
        args: list[Argument] = ["CLIENT", "LIST"]
        if _type is not None:
            args += ["TYPE", _type]
        if client_id:
            args += ["ID", *client_id]
        return self._do(args, as_clients)

    def client_getname(self) -> str | None:
        """The name of the connection that was used, None if it has none."""
        return self._do(("CLIENT", "GETNAME"), text_or_none)

    def client_setname(self, name: str) -> bool:
        """Name the connection that is used; True. To name all of them, give `client_name` to the client."""
        return self._do(("CLIENT", "SETNAME", name), is_ok)

    def client_kill(self, address: str) -> bool:
        """Close the connection from this `ip:port`; True."""
        return self._do(("CLIENT", "KILL", address), is_ok)

    def client_kill_filter(
        self,
        _id: Argument | None = None,
        _type: str | None = None,
        addr: str | None = None,
        skipme: bool | None = None,
        laddr: str | None = None,
        user: str | None = None,
        maxage: int | None = None,
    ) -> int:
        """Close all connections that fit; how many there were. skipme: whether this one is to be left alone, as it is
        if nothing is said.
        """
        if not isinstance(skipme, bool | None):
            raise InvalidArgument("skipme is True, False or None")
        args: list[Argument] = ["CLIENT", "KILL"]
        for name, value in (("TYPE", _type), ("ID", _id), ("ADDR", addr), ("LADDR", laddr), ("USER", user)):
            if value is not None:
                args += [name, value]
        if maxage is not None:
            args += ["MAXAGE", maxage]
        if skipme is not None:
            args += ["SKIPME", "YES" if skipme else "NO"]
        if len(args) == 2:
            raise InvalidArgument("at least one condition is needed")
        return self._do(args)

    def client_pause(self, timeout: int, all: bool = True) -> bool:
        """Let the server answer nobody (or, with all=False, no writer) for so many milliseconds; True."""
        return self._do(["CLIENT", "PAUSE", timeout, *([] if all else ["WRITE"])], is_ok)

    def client_unpause(self) -> bool:
        """End a pause; True."""
        return self._do(("CLIENT", "UNPAUSE"), is_ok)

    def client_unblock(self, client_id: int, error: bool = False) -> bool:
        """End the waiting of another connection, as if its time were over, or with an error; True if it waited."""
        return self._do(["CLIENT", "UNBLOCK", client_id, *(["ERROR"] if error else [])], bool)

    def client_getredir(self) -> int:
        """Where invalidations of the connection that was used go; -1: tracking is off, 0: to itself."""
        return self._do(("CLIENT", "GETREDIR"))

    def client_trackinginfo(self) -> dict[str, Any]:
        """How the connection that was used tracks: `flags`, `redirect`, `prefixes`."""
        return self._do(("CLIENT", "TRACKINGINFO"), plain_map)

    # ---- users ---------------------------------------------------------------------------------------------------

    def acl_whoami(self) -> str:
        """The name of the user that this client is."""
        return self._do(("ACL", "WHOAMI"), as_text)

    def acl_list(self) -> list[str]:
        """The rules of all users, as they stand in an ACL file."""
        return self._do(("ACL", "LIST"), as_texts)

    def acl_users(self) -> list[str]:
        """The names of all users."""
        return self._do(("ACL", "USERS"), as_texts)

    def acl_cat(self, category: str | None = None) -> list[str]:
        """The categories of commands, or the commands of one."""
        return self._do(["ACL", "CAT", *([] if category is None else [category])], as_texts)

    def acl_getuser(self, username: str) -> dict[str, Any] | None:
        """The rules of a user, None if there is none."""
        return self._do(("ACL", "GETUSER", username), as_user)

    def acl_setuser(self, username: str, *rules: Argument) -> bool:
        """Make or change a user by rules in the server's own words: `"on", ">password", "~app:*", "+@read"`; True."""
        return self._do(["ACL", "SETUSER", username, *rules], is_ok)

    def acl_deluser(self, *username: str) -> int:
        """Remove users, and end their connections; how many there were."""
        return self._do(["ACL", "DELUSER", *at_least_one(list(username), "user")])

    def acl_dryrun(self, username: str, *args: Argument) -> bool | str:
        """True if a user may send this command, otherwise the reason why not (Redis 7.0)."""
        return self._do(["ACL", "DRYRUN", username, *args], lambda reply: is_ok(reply) or as_text(reply))

    def acl_genpass(self, bits: int | None = None) -> str:
        """A random password of so many bits, 256 if not said."""
        return self._do(["ACL", "GENPASS", *([] if bits is None else [bits])], as_text)

    def acl_log(self, count: int | None = None) -> list[dict[str, Any]]:
        """What users tried to do and may not, the last first."""
        return self._do(
            ["ACL", "LOG", *([] if count is None else [count])], lambda reply: [plain_map(row) for row in reply]
        )

    def acl_log_reset(self) -> bool:
        """Forget what `acl_log` tells; True."""
        return self._do(("ACL", "LOG", "RESET"), is_ok)

    def acl_load(self) -> bool:
        """Read the users from the server's ACL file; True."""
        return self._do(("ACL", "LOAD"), is_ok)

    def acl_save(self) -> bool:
        """Write the users into the server's ACL file; True."""
        return self._do(("ACL", "SAVE"), is_ok)
