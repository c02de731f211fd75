# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages check`: what is wrong with a settings file, without starting anything."""

import asyncio
import contextlib
import re
from dataclasses import replace
from pathlib import Path

from addon.commands.arguments import print_json
from addon.commands.serve import unusable
from addon.settings.file_checks import problems, unlistenable
from addon.settings.schema import Settings, SettingsError, load

_SAMPLE = re.compile(r"(?:^|\.)example\.(?:org|com|net)$")


def check_command(path: Path, *, offline: bool, as_json: bool) -> int:
    """Look at the settings, at the files that they name, and unless offline at Forgejo."""
    try:
        settings = load(path)
    except SettingsError as error:
        if not as_json:
            raise
        print_json({"file": str(path), "ok": False, "problems": str(error).splitlines(), "warnings": []})
        return 1
    wrong = problems(settings)
    warnings = [*settings.warnings, *_samples(settings)]
    if settings.not_used_yet:
        warnings.append(f"not used yet: {', '.join(settings.not_used_yet)}")
    for name, addresses in (("listen", settings.listen), ("adminListen", settings.admin_listen)):
        warnings += [f"{name}: {each}: {why}" for each in addresses if (why := unlistenable(each))]
    if settings.serve_private_repositories and settings.forgejo_token is None:
        warnings.append(
            "servePrivateRepositories: needs forgejoToken: without one, Forgejo shows no private repository"
        )
    if not wrong and not offline and (problem := asyncio.run(_forgejo_problem(settings))):
        warnings.append(problem)
    if as_json:
        print_json({"file": str(path), "ok": not wrong, "problems": wrong, "warnings": warnings})
        return 1 if wrong else 0
    if unusable(path, settings):
        return 1
    for warning in warnings:
        print(f"warning: {warning}")
    place = (
        f"{settings.pages_domain}/OWNER" if settings.address_style == "path" else f"{{owner}}.{settings.pages_domain}"
    )
    print(f"{path}: in order. Sites at https://{place}/, from {settings.forgejo_host}")
    return 0


def _samples(settings: Settings) -> list[str]:
    """Which options still have a value out of the sample file."""
    hosts = {
        "pagesDomain": settings.pages_domain,
        "forgejoHost": settings.forgejo_host.partition("://")[2].partition("/")[0].partition(":")[0],
        "forgejoPublicHost": settings.forgejo_public_host or "",
    }
    return [
        f"{name}: {host} is only an example: put a name of yours there"
        for name, host in hosts.items()
        if _SAMPLE.search(host)
    ]


async def _forgejo_problem(settings: Settings) -> str:
    """What is wrong with forgejoHost as seen from here; empty if Forgejo answers. It need not be up: a warning."""
    from addon.forgejo.errors import ForgejoError, Refused
    from addon.wiring import open_forgejo

    timeout = min(settings.forgejo_timeout, 5.0)
    async with contextlib.AsyncExitStack() as stack:
        forgejo = open_forgejo(stack, replace(settings, forgejo_timeout=timeout), None)
        try:
            if await _leads_back(settings, timeout):
                return f"forgejoHost {settings.forgejo_host} leads back to a pages server: name Forgejo's own address"
            await forgejo.version()
        except Refused:
            return "" if settings.forgejo_token is not None else "Forgejo wants a sign-in: set forgejoToken"
        except ForgejoError as error:
            return f"Forgejo at {settings.forgejo_host} does not answer: {error}"
    return ""


async def _leads_back(settings: Settings, timeout: float) -> bool:
    """Whether a server like ours answers at forgejoHost."""
    from addon.net.http_client import HttpClient, TransportError, origin_of
    from addon.serving.server import OWN_HEADER

    client = HttpClient(ca_file=settings.forgejo_ca_file)
    try:
        deadline = asyncio.get_running_loop().time() + timeout
        answer = await client.get(origin_of(settings.forgejo_host), "/.pages/", (), deadline=deadline)
        return answer.header(OWN_HEADER.lower()) is not None
    except TransportError:
        return False
    finally:
        await client.aclose()
