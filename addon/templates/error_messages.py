# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""What is said when something cannot be shown: plain English for the visitor, a hint for the site's owner.

Two tables: by status, and by the five messages of the origin, which people search for and tools may match: those stand
on the page word by word. The surprising decision: nothing here names a cause that the visitor could not do anything
about, and nothing blames them. Text between backticks is shown as code.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

REPOSITORY_NOT_FOUND = "Repository not found or not configured for pages"
FILE_NOT_FOUND = "File not found"
INVALID_REQUEST = "Invalid request format"
DOMAIN_NOT_CONFIGURED = "Custom domain not configured"
INVALID_DOMAIN = "Invalid domain"


class ErrorMessage(NamedTuple):
    """A heading, what it means for the visitor, and what somebody (`reader`) may do about it."""

    title: str
    message: str
    hint: str | None = None
    reader: str = "owner of this site"


_LATER = "Nothing is wrong on your side. Please try again in a few minutes."

BY_STATUS: dict[int, ErrorMessage] = {
    400: ErrorMessage(
        "This address cannot be read", "Something in the request is not as it should be. Check the address."
    ),
    401: ErrorMessage("Please sign in", "This page is only shown to visitors who know its password."),
    403: ErrorMessage("This page is not public", "The server found what you asked for, but may not show it."),
    404: ErrorMessage("Page not found", "There is nothing at this address. The link may be old, or mistyped."),
    405: ErrorMessage("This page is read-only", "Pages here can be looked at, but nothing can be sent to them."),
    408: ErrorMessage("That took too long", "The request did not arrive in time. Please try again."),
    410: ErrorMessage("This page is gone", "It was here once and has been removed for good."),
    412: ErrorMessage(
        "The page has changed", "It is no longer the version you asked for. Reload to see the present one."
    ),
    414: ErrorMessage("This address is too long", "The server does not read addresses of this length."),
    416: ErrorMessage("That part does not exist", "The file is shorter than the part that was asked for."),
    421: ErrorMessage("Wrong server", "This server does not answer for that name on this connection. Reload the page."),
    429: ErrorMessage("One moment, please", "There were too many requests in a short time. Please wait a little."),
    431: ErrorMessage(
        "The request is too large",
        "Your browser sent more than the server reads: most likely cookies, which a site at a neighbouring address may"
        " have set. It was asked to forget them; please reload the page.",
    ),
    500: ErrorMessage("Something went wrong here", f"The server could not make this page. {_LATER}"),
    501: ErrorMessage("This is not possible here", "The server does not know how to do what was asked."),
    502: ErrorMessage(
        "The source is not answering properly", f"This page is kept on another server, which has a problem. {_LATER}"
    ),
    503: ErrorMessage("Too busy at the moment", f"This page cannot be fetched right now. {_LATER}"),
    504: ErrorMessage(
        "The source is not answering", f"This page is kept on another server, which does not respond. {_LATER}"
    ),
    508: ErrorMessage(
        "Request loop",
        "This request came back to the server that sent it on, so it was stopped here.",
        "`forgejoHost`, or a proxy in between, leads back to this server.",
        "administrator of this server",
    ),
}

BY_MESSAGE: dict[str, ErrorMessage] = {
    REPOSITORY_NOT_FOUND: ErrorMessage(
        REPOSITORY_NOT_FOUND,
        "There is no site at this address, or it has not been published yet.",
        "A site is a public repository with a file `.pages` on its default branch that does not say `enabled: false`,"
        " and its files in a folder `public`.",
    ),
    FILE_NOT_FOUND: ErrorMessage(
        FILE_NOT_FOUND,
        "This site has no such page. The link may be old, or mistyped.",
    ),
    INVALID_REQUEST: ErrorMessage(
        INVALID_REQUEST,
        "The server cannot make sense of this address. Check it for stray characters.",
    ),
    DOMAIN_NOT_CONFIGURED: ErrorMessage(
        DOMAIN_NOT_CONFIGURED,
        "This name leads here, but no site has been connected to it.",
    ),
    INVALID_DOMAIN: ErrorMessage(
        INVALID_DOMAIN,
        "This server does not answer for that name.",
    ),
}


def error_message(status: int, title: str | None, message: str | None, hint: str | None) -> ErrorMessage:
    """What a page says: what the caller gave, and for the rest the tables' words for that message or that status.

    One of the origin's messages becomes the heading itself; any other message stands below the status' heading.
    """
    known = BY_MESSAGE.get(message) if message is not None else None
    if known is not None and title is None:
        return known._replace(hint=hint or known.hint)
    usual = BY_STATUS.get(status) or ErrorMessage(_phrase(status), "The server could not answer this request.")
    return usual._replace(
        title=title or usual.title, message=message or usual.message, hint=hint or (known or usual).hint
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Something went wrong"


def time_text(seconds: int) -> str:
    """A time to wait or to stay, in the unit in which people think of it; never shorter than it is."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * length or seconds == length:
            return _counted(-(-seconds // length), unit)
    return _counted(seconds, "second")


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
