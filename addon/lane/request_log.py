# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What the access log is told of a request, and how one over HTTP/1.1 is named where something went wrong."""

from time import monotonic

from addon.admin.access_formats import Entry, seen
from addon.admin.access_log import AccessLog
from addon.lane.lane import Lane
from addon.serving.answers import reason_of
from addon.web.prepared_answers import NOTHING, About, Repeat
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


def log_again(lane: Lane, client: str, secure: bool, again: Repeat, protocol: str, began: float) -> None:
    """A line for an answer that was given before to the same request; only where there is a log. protocol: its name."""
    assert lane.log is not None
    parts = again.logged
    if parts is None:
        line, fields, answer = again.answer.line, again.fields, again.answer
        nbytes = 0 if line.method == "HEAD" else answer.nbytes
        parts = again.logged = lane.log.parts(
            Entry(
                *(0.0, "", line.method, fields.host, line.path, answer.status, nbytes, 0.0, answer.cache),
                seen(protocol, secure, fields.values.get),
                *(0, answer.about.site, answer.about.commit, reason_of(answer.status, answer.about)),
            )
        )
        lane.repeated_requests.count_bytes(sum(map(len, parts)))
    lane.log.record_again(parts, lane.visitor(again.fields, client, secure).address, monotonic() - began)


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
