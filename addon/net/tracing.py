# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a request causes elsewhere: whom it had asked, and the trace that it belongs to.

Knows neither Forgejo nor Redis: who asks them notes it here. The surprise: nothing of it is passed through the
functions in between; it stands in the context, as turns do, and each task that one starts has it, too. So it is the
visitor who began a look whose trace Forgejo sees, and who only waited for one that was under way has asked nobody.
Where spans are recorded (`spans`), each of both is one; what is asked then bears its own.
"""

import enum
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

TRACE_HEADER = "traceparent"

Attributes = dict[str, str | int]


class TracedWork(enum.Enum):
    """What a span is about: an answer to a visitor, or a question to others."""

    ANSWER = 1
    QUESTION = 2


class Recorder(Protocol):
    """Records spans; see `Spans.span`."""

    def span(
        self, kind: TracedWork, name: str, parent: str, attributes: Attributes
    ) -> AbstractContextManager[tuple[str, Attributes]]: ...


@dataclass(slots=True)
class Question:
    """Something that was asked. seconds: until the answer, None before it. came_to: what came, or why nothing did."""

    whom: str
    what: str
    seconds: float | None = None
    came_to: str = ""


FORM = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""Of a `traceparent` (W3C Trace Context §3.2), with the id of the trace: what has another form is nobody's."""
_asked: ContextVar[list[Question] | None] = ContextVar("asked", default=None)
_trace: ContextVar[str] = ContextVar("trace", default="")
_recorder: Recorder | None = None


def record(recorder: Recorder | None) -> None:
    """Record spans with this, or none from now on."""
    global _recorder
    _recorder = recorder


@contextmanager
def noting() -> Iterator[list[Question]]:
    """Note all that is asked within, in its order."""
    asked: list[Question] = []
    token = _asked.set(asked)
    try:
        yield asked
    finally:
        _asked.reset(token)


@contextmanager
def question(whom: str, what: str) -> Iterator[Question]:
    """Something is asked within; whoever asks says what came of it, or an exception does by its name."""
    asked, began = _asked.get(), time.perf_counter()
    noted = Question(whom, what)
    if asked is not None:
        asked.append(noted)
    attributes: Attributes = {"peer.service": whom, "pages.question": what}
    with _span(TracedWork.QUESTION, f"{whom} {what.partition(':')[0]}", trace(), attributes) as outcome:
        try:
            yield noted
        except BaseException as error:
            noted.came_to = noted.came_to or type(error).__name__
            raise
        finally:
            noted.seconds = time.perf_counter() - began
            outcome["pages.came_to"] = noted.came_to


@contextmanager
def traced(said: bytes | None, name: str, attributes: Attributes) -> Iterator[Attributes]:
    """An answer is made within. said: the `traceparent` of the request. Gives a place for what comes of it.

    What is asked within belongs to its trace.
    """
    parent = said.decode() if said is not None and FORM.fullmatch(said) else ""
    token = _trace.set(parent)
    try:
        with _span(TracedWork.ANSWER, name, parent, attributes) as outcome:
            yield outcome
    finally:
        _trace.reset(token)


@contextmanager
def _span(kind: TracedWork, name: str, parent: str, attributes: Attributes) -> Iterator[Attributes]:
    if _recorder is None:
        yield {}
        return
    with _recorder.span(kind, name, parent, attributes) as (own, outcome):
        token = _trace.set(own)
        try:
            yield outcome
        finally:
            _trace.reset(token)


def trace() -> str:
    """The trace that the present task belongs to; "" for none."""
    return _trace.get()
