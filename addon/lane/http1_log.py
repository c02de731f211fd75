# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What the access log is told of a request over HTTP/1.1, and how a request is named where something went wrong."""

from time import monotonic

from addon.admin.access_formats import seen
from addon.admin.access_log import AccessLog
from addon.lane.lane import Lane
from addon.serving.answers import reason_of
from addon.web.prepared_answers import NOTHING, About
from addon.web.request_head import Fields, RequestLine


def log_answer(
    lane: Lane,
    client: str,
    secure: bool,
    line: RequestLine,
    fields: Fields,
    status: int,
    nbytes: int,
    began: float,
    cache: str,
    about: About,
) -> None:
    """A line for an answer; only where there is a log. client, secure: whose connection, and whether over TLS."""
    assert lane.log is not None
    lane.log.record(
        client=lane.visitor(fields, client, secure).address,
        method=line.method,
        host=fields.host,
        path=line.path,
        status=status,
        nbytes=0 if line.method == "HEAD" else nbytes,
        seconds=monotonic() - began,
        cache=cache,
        seen=seen("HTTP/1.1" if line.http11 else "HTTP/1.0", secure, fields.values.get),
        site=about.site,
        commit=about.commit,
        reason=reason_of(status, about),
    )


def log_refusal(log: AccessLog, client: str, status: int) -> None:
    """A line for what never became a request."""
    log.record(
        client=client,
        method="",
        host="",
        path="",
        status=status,
        nbytes=0,
        seconds=0.0,
        cache="",
        reason=reason_of(status, NOTHING),
    )


def shown(line: bytes) -> str:
    """A request line for the log, without its query."""
    return repr(line.split(b"?", 1)[0][:200].decode("latin-1"))
