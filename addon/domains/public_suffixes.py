# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The public suffix list (publicsuffix.org): below which names anybody can have a domain.

Taken from the package `publicsuffixlist`, which is released with each change of the list. Where mitmproxy alone is
installed, its own list (publicsuffix2, of 2019) has to do; `pages doctor` says so.
"""

import ipaddress
from functools import cache
from typing import Protocol


class _List(Protocol):
    def publicsuffix(self, domain: str) -> str | None: ...


class _Old:
    """mitmproxy's list, with the same face."""

    def __init__(self) -> None:
        from publicsuffix2 import PublicSuffixList  # type: ignore[import-untyped]  # it has no type hints

        self._list = PublicSuffixList()

    def publicsuffix(self, domain: str) -> str | None:
        found: str | None = self._list.get_tld(domain)
        return found


@cache
def _suffixes() -> _List:
    try:
        from publicsuffixlist import PublicSuffixList
    except ImportError:
        return _Old()
    suffixes: _List = PublicSuffixList()
    return suffixes


def is_fresh() -> bool:
    """Whether the list is one that is kept up to date."""
    return not isinstance(_suffixes(), _Old)


def is_public_suffix(name: str) -> bool:
    """Whether a name, in lower case and A-labels, is a public suffix itself, such as `co.uk` or `github.io`."""
    return _suffixes().publicsuffix(name) == name


def registrable_domain(host: str) -> str | None:
    """The name right below the public suffix that a host is below; None for an address or a name without a dot.

    Of a host that is a public suffix (a pages domain should become one), it is that of the name above.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return None
    while "." in host:
        suffix = _suffixes().publicsuffix(host)
        if suffix is None:
            return None
        if suffix != host:
            return ".".join(host.split(".")[-suffix.count(".") - 2 :])
        host = host.partition(".")[2]
    return None
