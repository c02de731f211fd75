# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which header fields a site may set, and why not the others. Pure.

A list of what is allowed, not of what is not: who stands in front of us obeys fields that we have never heard of
(`X-Accel-Redirect` makes nginx send any file). A field of one's own begins with `X-`.
"""

import re

from addon.sites.rule_lines import Unfit

ALLOWED = frozenset(
    {
        "access-control-allow-credentials",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "access-control-max-age",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-security-policy",
        "content-security-policy-report-only",
        "content-type",
        "cross-origin-embedder-policy",
        "cross-origin-embedder-policy-report-only",
        "cross-origin-opener-policy",
        "cross-origin-opener-policy-report-only",
        "cross-origin-resource-policy",
        "document-policy",
        "feature-policy",
        "integrity-policy",
        "integrity-policy-report-only",
        "link",
        "nel",
        "onion-location",
        "origin-agent-cluster",
        "origin-trial",
        "permissions-policy",
        "permissions-policy-report-only",
        "priority",
        "referrer-policy",
        "refresh",
        "report-to",
        "reporting-endpoints",
        "require-document-policy",
        "service-worker-allowed",
        "sourcemap",
        "speculation-rules",
        "strict-transport-security",
        "supports-loading-mode",
        "timing-allow-origin",
        "vary",
    }
)
SINGLE = frozenset(
    {
        "access-control-allow-credentials",
        "access-control-allow-origin",
        "access-control-max-age",
        "content-disposition",
        "content-encoding",
        "content-type",
        "cross-origin-embedder-policy",
        "cross-origin-opener-policy",
        "cross-origin-resource-policy",
        "onion-location",
        "origin-agent-cluster",
        "referrer-policy",
        "refresh",
        "service-worker-allowed",
        "sourcemap",
        "strict-transport-security",
        "x-content-type-options",
        "x-frame-options",
    }
)
"""Fields with one value: of several, the last counts, for joined they would mean nothing."""
CONDITIONAL = frozenset({"content-encoding", "service-worker-allowed", "strict-transport-security"})
"""Fields that hold only where something else is so: the file's bytes, the site's path, the domain's owner."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE = re.compile(r"[\x20-\x7e\t]*")
_FRAMING = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    }
)
_REASONS = {
    "accept-ranges": "it tells what this server can do",
    "age": "it tells how old an answer in a cache is",
    "allow": "it tells what this server can do",
    "alt-svc": "it sends visitors to another server, for all that the host serves",
    "clear-site-data": "it would end the logins of everything else on the host",
    "content-range": "it belongs to an answer that is a part of a file",
    "date": "it is the time at which this server answers",
    "etag": "it is made out of the file, and tells caches what changed",
    "last-modified": "it is the time of the commit",
    "location": "it belongs to a redirect: that is written in `_redirects`",
    "proxy-authenticate": "it belongs to a proxy",
    "server": "it names this server",
    "set-cookie": "a cookie of a site could pass for one of this server’s logins",
    "set-cookie2": "a cookie of a site could pass for one of this server’s logins",
    "status": "the status is this server’s to say",
    "via": "it names proxies on the way",
    "www-authenticate": "browsers would ask visitors for a password that nobody checks",
}
_OF_SERVERS = re.compile(
    r"x-(?:accel-.*|sendfile.*|lighttpd-.*|litespeed-.*|forwarded-.*|real-ip|cache-status|pages-server|reproxy-.*|dns-prefetch-control-.*)"
)


def checked_name(text: str) -> str:
    """A field's name in lower case; raises Unfit for one that a site may not set."""
    name = text.lower()
    if not _NAME.fullmatch(text):
        raise Unfit("a name of a header is letters, digits and hyphens", "write `Name: value`")
    if name in _FRAMING or name.startswith("proxy-"):
        raise Unfit(f"`{name}` belongs to the connection, not to the site")
    if name in _REASONS:
        raise Unfit(f"`{name}` may not be set: {_REASONS[name]}")
    if _OF_SERVERS.fullmatch(name):
        raise Unfit(f"`{name}` is obeyed by servers on the way, and may not be set")
    if not (name in ALLOWED or name.startswith("x-")):
        raise Unfit(f"`{name}` is not among the headers that a site may set", "begin a name of your own with `X-`")
    return name


def checked_value(name: str, text: str) -> str:
    """A field's value; raises Unfit for one that no header may hold, or this one."""
    if not _VALUE.fullmatch(text):
        raise Unfit("a value of a header is printable ASCII", "encode other characters as the header’s rules say")
    if name == "content-encoding" and text.strip().lower() not in ("br", "gzip", "zstd"):
        raise Unfit("`content-encoding` may be `br`, `gzip` or `zstd`, for files that are encoded so already")
    if name == "service-worker-allowed" and not text.startswith("/"):
        raise Unfit("`service-worker-allowed` is a path", "begin it with `/`")
    if name == "content-type" and not re.fullmatch(
        r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*;.*)?", text
    ):
        raise Unfit("the value is no content type", "write one such as `text/plain; charset=utf-8`")
    return text
