# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What `pages doctor` has to say about security: versions with known advisories, and settings that leave a door ajar.

Asks nobody: advisories are a table of those that were known when this was written, so silence is no proof of safety.
"""

import re
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Final, NamedTuple

from addon.domains.public_suffixes import is_fresh, is_public_suffix, registrable_domain
from addon.settings.schema import Settings


class Advisory(NamedTuple):
    """package: by its name on PyPI. mended: the first version without it. what: in a few words, for this server."""

    package: str
    mended: str
    name: str
    what: str


ADVISORIES: Final = (
    Advisory("brotli", "1.2.0", "CVE-2025-6176", "a small answer can unpack to fill the memory"),
    Advisory("cryptography", "44.0.1", "CVE-2024-12797", "its OpenSSL may miss that a handshake was not verified"),
    Advisory("dnspython", "2.6.1", "CVE-2023-29483", "a forged answer of DNS can make it give up"),
    Advisory("h11", "0.16.0", "CVE-2025-43859", "it reads chunked bodies less strictly than others: request smuggling"),
    Advisory("h2", "4.3.0", "CVE-2025-57804", "line ends in header fields of HTTP/2 pass: request splitting"),
    Advisory("mitmproxy", "11.1.2", "CVE-2025-23217", "mitmweb's interface can be reached through the proxy"),
    Advisory("tornado", "6.5.0", "CVE-2025-47287", "a form can fill the log; mitmweb alone uses it"),
)

_STALE: Final = (
    "the list is mitmproxy's, of 2019, so a site may claim a name below which anybody can have one:"
    " pip install publicsuffixlist"
)
_NO_SUFFIX: Final = (
    "is no public suffix, so to browsers all sites below it are one: each can set cookies for the others, and SameSite"
    " keeps none of them out. Have it added (publicsuffix.org, the private section); that also ends a certificate"
    " authority's limit of names for the whole of it"
)
_PREVIEWS_NO_SUFFIX: Final = (
    "is no public suffix, so to browsers all previews are one site, and can set cookies for each other: have it added"
)
_KEY_IN_REDIS: Final = (
    "is not set, so logins are signed with a key that stands in Redis: who can read there can make one. Set the same"
    " long random text on all machines"
)


def security_notes(
    settings: Settings, installed: Callable[[str], str] = version, advisories: tuple[Advisory, ...] = ADVISORIES
) -> Iterator[tuple[str, str]]:
    """About what, and what about it. installed: the version of a package; raises PackageNotFoundError."""
    for each in advisories:
        try:
            found = installed(each.package)
        except PackageNotFoundError:
            continue
        if _release(found) < _release(each.mended):
            yield f"{each.package} {found}", f"{each.name}: {each.what}; {each.mended} mends it"
    if not is_fresh():
        yield "public suffixes", _STALE
    if not is_public_suffix(settings.pages_domain):
        yield f"pagesDomain {settings.pages_domain}", _NO_SUFFIX
    previews = settings.preview_domain
    if previews is not None:
        if not is_public_suffix(previews):
            yield f"previewDomain {previews}", _PREVIEWS_NO_SUFFIX
        shared = registrable_domain(previews)
        if shared is not None and shared == registrable_domain(settings.pages_domain):
            yield (
                f"previewDomain {previews}",
                f"is below {shared}, as the pages are: previews can set cookies for sites",
            )
    if settings.auth_secret_key is None and settings.names_redis:
        yield "authSecretKey", _KEY_IN_REDIS


def _release(text: str) -> tuple[int, ...]:
    """The numbers of a version's release, as far as they can be compared."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    numbers = [int(number) for number in found[0].split(".")] if found is not None else []
    return tuple((*numbers, 0, 0, 0)[:4])
