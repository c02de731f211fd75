# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What all rooms of commands stand on: `CommandGroup`, and the type parameter for texts.

A method turns its arguments into the words of a command and says how the reply is to be read; what happens with both
is decided by who inherits: a client sends at once, a pipeline queues and returns itself. Surprising: the annotated
results are those of a client. `resp.queued` says the same methods once more, for type checkers, as a pipeline has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic

from resp.argument_types import Convert
from resp.encoding import Argument

if TYPE_CHECKING:
    # Type checkers bring this module along; Python before 3.13 has no defaults for type parameters.
    from typing_extensions import TypeVar

    B = TypeVar("B", bound=bytes | str, default=bytes)
else:
    from typing import TypeVar

    B = TypeVar("B", bound=bytes | str)


class CommandGroup(Generic[B]):
    """Commands; `B` is the type of texts in their results: bytes, or str with `decode=True`."""

    __slots__ = ()

    @property
    def _answers(self) -> bool:
        """True if a call returns the command's own result; False where it is queued."""
        return True

    def _do(self, args: Sequence[Argument], convert: Convert | None = None) -> Any:
        """Send or queue these words; `convert` makes the result of the reply."""
        raise NotImplementedError

    def _wait(self, span: float, args: Sequence[Argument], convert: Convert | None = None) -> Any:
        """The same for a command whose answer the server may keep back for `span` seconds, 0 for any time."""
        return self._do(args, convert)

    def _known(self, result: Any) -> Any:
        """A result that no server need be asked for; in a queue something must stand in its place all the same."""
        return self._do(("PING",), lambda _: result)


class MayAnswer:
    """Marks, for type checkers, a queue that answers at once now and then: a transaction between WATCH and MULTI."""

    __slots__ = ()
