# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a site's `_headers` say of one answer, as far as it holds there. Pure.

Three fields hold only where something else is so: `Strict-Transport-Security` on a domain that is the site's own (its
neighbours below the pages domain have not agreed to it), `Service-Worker-Allowed` for paths below the site, and
`Content-Encoding` for bytes that are encoded so, which `encoded_as_said` looks at.
"""

from typing import NamedTuple

from addon.sites.headers import NOTHING, Added
from addon.web.codings import decodes
from addon.web.representation import Headers

_LOOKED_AT = 4096
_MOST_DECODED = 1024 * 1024
"""Bytes that are made to find out: within a millisecond or two."""


class SiteHeaders(NamedTuple):
    """Fields that a site adds to an answer, and names of ours that go; key: the same wherever they are the same.

    coding: what the site says of the file's own bytes, to be looked at before it is believed.
    """

    fields: Headers = ()
    removed: frozenset[bytes] = frozenset()
    key: str = ""
    coding: str = ""


NONE = SiteHeaders()


def site_headers(added: Added, *, base: str, own_domain: bool) -> SiteHeaders:
    """What is said of an answer. base: the site's path on its host, ending in a slash; own_domain: whose host it is."""
    if added is NOTHING:
        return NONE
    fields, coding = [], ""
    for name, value in added.fields:
        if name == "strict-transport-security" and not own_domain:
            continue
        if name == "service-worker-allowed" and not value.startswith(base):
            continue
        if name == "content-encoding":
            coding = value.lower()
        else:
            fields.append((_written(name), value.encode("ascii")))
    removed = frozenset(name.encode() for name in added.removed)
    key = f"{added.key:x}" + (f"@{base}{own_domain:d}" if added.depends else "")
    return SiteHeaders(tuple(fields), removed, key, coding)


def encoded_as_said(coding: str, data: bytes) -> bool:
    """Whether bytes begin as something in this content coding does."""
    return decodes(data[:_LOOKED_AT], coding, whole=len(data) <= _LOOKED_AT, most=_MOST_DECODED)


def _written(name: str) -> bytes:
    return b"-".join(part.capitalize() for part in name.encode().split(b"-"))
