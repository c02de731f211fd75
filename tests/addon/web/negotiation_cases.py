# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""A page, an image and an empty file, what may be said about them, and a way to ask for them."""

from dataclasses import replace

from addon.web.codings import CODINGS, IDENTITY
from addon.web.http_dates import http_date
from addon.web.negotiation import negotiate
from addon.web.representation import Form, Plan, Representation, cache_control

BLOB = "8ab686eafeb1f44702738c8b0f24f2567c36da6d"
MODIFIED = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples
NOW = 1_700_000_000.0
HTML = "text/html; charset=utf-8"
SIZES = {"br": 3000, "zstd": 3500, "gzip": 4000, IDENTITY: 10000}
PAGE = Representation(
    HTML,
    SIZES[IDENTITY],
    BLOB,
    MODIFIED,
    cache_control(True, 300),
    tuple(Form(coding, SIZES[coding], None) for coding in CODINGS),
)
IMAGE = Representation("image/png", 1000, BLOB, MODIFIED, cache_control(False, 300))
EMPTY = replace(IMAGE, size=0)

TAG = f'"{BLOB}"'
BR, ZSTD, GZIP = (f'"{BLOB}-{coding}"' for coding in CODINGS)
OTHER = '"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"'
BEFORE, DATE, AFTER = (http_date(MODIFIED + shift).decode() for shift in (-1, 0, 1))
FUTURE = http_date(int(NOW) + 3600).decode()

Fields = dict[str, str]


def ask(fields: Fields, of: Representation = PAGE, method: str = "GET", status: int = 200, now: float = NOW) -> Plan:
    lookup = {name.lower().encode(): value.encode("latin-1") for name, value in fields.items()}
    return negotiate(method, lookup.get, of, now, status)


def header(plan: Plan, name: str) -> str | None:
    values = [value for field, value in plan.headers if field.lower() == name.lower().encode()]
    assert len(values) <= 1, f"{name} twice"
    return values[0].decode("latin-1") if values else None


def coding(plan: Plan) -> str:
    assert plan.form is not None
    return plan.form.coding
