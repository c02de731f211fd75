# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""What an answer's plan costs, beside Werkzeug's conditional responses, which mitmproxy brings along.

Run `python -m tests.benchmarks.negotiation`. Both get the same request and say the same status; the rival's response
object with its headers is made anew each time, as an application does, while ours is prepared when the file is first
asked for: that difference is the point, and not a flaw of the comparison. Best of seven rounds, alternating.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from werkzeug.datastructures import Accept
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import parse_accept_header
from werkzeug.wrappers import Response

from addon.web.codings import CODINGS, IDENTITY, encode
from addon.web.http_dates import http_date
from addon.web.negotiation import negotiate
from addon.web.representation import Form, Representation, cache_control, entity_tag

BLOB = "8ab686eafeb1f44702738c8b0f24f2567c36da6d"
MODIFIED = 1_700_000_000
NOW = 1_800_000_000.0
SIZE = 10_000
HTML = "text/html; charset=utf-8"
BROWSER = {"accept-encoding": "gzip, deflate, br, zstd"}
BR = entity_tag(BLOB, "br").decode()
OTHER = entity_tag("0" * 40, "br").decode()

REQUESTS: dict[str, dict[str, str]] = {
    "plain": {},
    "browser": BROWSER,
    "304 by tag": BROWSER | {"if-none-match": BR},
    "304 by date": BROWSER | {"if-modified-since": http_date(MODIFIED).decode()},
    "another tag": BROWSER | {"if-none-match": OTHER},
    "range": {"range": "bytes=100-199"},
    "416": {"range": "bytes=10000-"},
}


def page() -> Representation:
    """A page with its three encoded forms on hand."""
    forms = tuple(Form(coding, SIZE, None) for coding in CODINGS)
    return Representation(HTML, SIZE, BLOB, MODIFIED, cache_control(True, 300), forms)


def ours(fields: dict[str, str], of: Representation) -> Callable[[], int]:
    """A request as our faces hand it over."""
    get = {name.encode(): value.encode() for name, value in fields.items()}.get
    return lambda: negotiate("GET", get, of, NOW).status


def theirs(fields: dict[str, str]) -> Callable[[], int]:
    """The same through Werkzeug, from the environment of a WSGI server."""
    environ = {"REQUEST_METHOD": "GET"} | {"HTTP_" + n.upper().replace("-", "_"): v for n, v in fields.items()}

    def answer() -> int:
        response = Response(b"", content_type=HTML)
        coding = parse_accept_header(environ.get("HTTP_ACCEPT_ENCODING"), Accept).best_match(CODINGS) or IDENTITY
        if coding != IDENTITY:
            response.headers["Content-Encoding"] = coding
        response.headers["Vary"] = "Accept-Encoding"
        response.headers["Cache-Control"] = "public, max-age=0, must-revalidate"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["ETag"] = entity_tag(BLOB, coding).decode()
        response.last_modified = datetime.fromtimestamp(MODIFIED, UTC)
        response.content_length = SIZE
        try:
            response.make_conditional(environ, accept_ranges=True, complete_length=SIZE)
        except RequestedRangeNotSatisfiable:
            return 416
        response.get_wsgi_headers(environ)
        return response.status_code

    return answer


def microseconds(call: Callable[[], object], count: int) -> float:
    """Time of one call in µs."""
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count * 1e6


def main() -> None:
    """Print the table."""
    of = page()
    print(f"{'request':14} {'status':>6} {'ours µs':>9} {'Werkzeug µs':>12} {'times':>6}")
    for name, fields in REQUESTS.items():
        mine, rival = ours(fields, of), theirs(fields)
        if mine() != rival():
            raise SystemExit(f"{name}: {mine()} here, {rival()} there")
        rounds = [(microseconds(mine, 5000), microseconds(rival, 300)) for _ in range(7)]
        a, b = (min(column) for column in zip(*rounds))
        print(f"{name:14} {mine():6} {a:9.2f} {b:12.2f} {b / a:6.0f}")
    first = min(microseconds(lambda: ours({}, page())(), 500) for _ in range(7))
    print(f"the first answer about a file, prepared: {first:.2f} µs")
    text = "".join(
        f"<li><a href='/posts/{n}/'>Post {n}</a>, {n * 7919 % 10007} words\n" for n in range(20_000)
    ).encode()
    for coding in CODINGS:
        took = min(microseconds(partial(encode, text, coding), 1) for _ in range(3))
        encoded = encode(text, coding) or text
        print(f"encode {coding:5} {took * 1e3 / len(text):6.1f} ms/MB to {len(encoded) / len(text):.1%}")


if __name__ == "__main__":
    main()
