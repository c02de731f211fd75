# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What can go wrong between us and Forgejo: one exception for each thing a caller does differently.

Each knows the status a visitor should get and how certain it is. The texts are ours: the forge's own words never get
in, because Forgejo's answer to a bad token quotes the token.
"""

from __future__ import annotations


class ForgejoError(Exception):
    """A call to Forgejo without the answer that was wanted; `status` is what a visitor should get."""

    status = 502


class NotFound(ForgejoError):
    """It is not there (Forgejo's own JSON 404, or a name that cannot exist).

    certain: False where something may yet be there that could not be asked for: the token that could tell was
    refused, or git answered 400, which also stands for its own time-outs. Only a certain answer may free anything.
    """

    status = 404

    def __init__(self, text: str, *, certain: bool = True) -> None:
        super().__init__(text)
        self.certain = certain


class Refused(ForgejoError):
    """Forgejo answered 401 or 403."""

    status = 403


class RateLimited(ForgejoError):
    """Forgejo, or the server in front of it, answered 429; `retry_after` in seconds."""

    status = 503

    def __init__(self, text: str, *, retry_after: int = 1) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Overloaded(ForgejoError):
    """Our own limit of calls or streams is reached; `retry_after` in seconds."""

    status = 503

    def __init__(self, text: str, *, retry_after: int = 1) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Unreachable(ForgejoError):
    """No connection, hung up before it answered, or known to be away a moment ago."""


class DeadlineExceeded(ForgejoError):
    """Forgejo did not answer in time."""

    status = 504


class BadAnswer(ForgejoError):
    """An answer that cannot be right: HTML, broken or truncated JSON, contradictions, bytes that do not match an id."""


class ServerTrouble(ForgejoError):
    """Forgejo, or the server in front of it, answered 5xx."""


class TooManyFiles(ForgejoError):
    """The tree has more entries than the operator allows; `total` counts its folders too."""

    status = 500

    def __init__(self, total: int) -> None:
        super().__init__(f"a tree of {total} entries")
        self.total = total


class TreeTooLarge(ForgejoError):
    """The paths of a tree take more bytes than anybody should hold, or one of them is longer than a path may be."""

    status = 500

    def __init__(self, reason: str) -> None:
        super().__init__(f"a tree: {reason}")
        self.reason = reason


class BlobTooLarge(ForgejoError):
    """Forgejo does not give this blob in one piece; it can be streamed. `id` is the blob's."""

    def __init__(self, blob_id: str) -> None:
        super().__init__(f"blob {blob_id} is above the limit for blobs in one piece")
        self.id = blob_id
