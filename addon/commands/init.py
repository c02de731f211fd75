# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages init`: a settings file, and the files of `config/` for the programs around the server, filled in.

What is written is the sample with some lines changed, so that every other option stays there with its explanation. All
answers are checked by the settings' own reader before the first file is written.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from addon.commands.files import shipped
from addon.settings.schema import Settings, SettingsError

_FILES = {
    "caddy": ("caddy/Caddyfile",),
    "nginx": ("nginx/pages.conf", "nginx/pages-proxy.inc"),
    "traefik": ("traefik/traefik.yml", "traefik/pages.yml"),
    "systemd": ("systemd/forgejo-pages.service",),
    "compose": ("container/compose.yaml", "caddy/Caddyfile", "container/Containerfile"),
}
_CONTAINER_REDIS = "valkey"
_OF_PREVIEWS = "# Previews of branches and pull requests"
"""With this begins, in each file, the comment over the lines that previews take; lines and comment alike have a `#`."""
_PREVIEW_DOMAIN = "preview.example.net"


def init_command(options: argparse.Namespace, ask: Callable[[str], str] = input) -> int:
    """Ask for what no option said, and write the files into a folder; returns the exit code."""
    source = shipped()
    if source is None:
        return _failed("the sample files are not installed here")
    compose = bool(options.compose)
    try:
        domain = _answer(options.pages_domain, "The domain of the sites, such as pages.example.org: ", ask)
        default = "http://forgejo:3000" if compose else "http://127.0.0.1:3000"
        forgejo = _answer(options.forgejo, f"Where Forgejo is [{default}]: ", ask) or default
        needs = _CONTAINER_REDIS if compose else "127.0.0.1" if options.traefik else ""
        redis = (
            _answer(options.redis, f"The host of Redis or Valkey, if there is one [{needs or 'none'}]: ", ask) or needs
        )
    except EOFError:
        print(file=sys.stderr)
        return _failed("no answer: give --pages-domain, --forgejo and --redis, or start it at a terminal")
    values = _values(domain, forgejo, redis, options)
    try:
        Settings.from_mapping(values, environ={"STATE_DIRECTORY": "/"})
    except SettingsError as error:
        return _failed(str(error))
    written = {"pages.yaml": filled((source / "pages.yaml").read_text(encoding="utf-8"), values)}
    for name, files in _FILES.items():
        if getattr(options, name):
            for file in files:
                text = (source / file).read_text(encoding="utf-8")
                if options.preview_domain:
                    text = with_previews(text, values["previewDomain"])
                written[Path(file).name] = text.replace("pages.example.org", domain).replace(
                    r"pages\.example\.org", domain.replace(".", r"\.")
                )
    there = [name for name in written if (options.directory / name).exists()]
    if there and not options.force:
        return _failed(f"{', '.join(there)}: already there; --force overwrites")
    try:
        options.directory.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (options.directory / name).write_text(text, encoding="utf-8")
            print(options.directory / name)
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}")
    print(f"\nNext: pages check {options.directory / 'pages.yaml'}")
    if "Caddyfile" in written:
        of_previews = ", and that for previews," if options.preview_domain else ""
        print(f"and choose in Caddyfile where the wildcard certificate for the sites of users{of_previews} comes from")
    return 0


def filled(sample: str, values: Mapping[str, object]) -> str:
    """The sample of the settings with these options set, each in its own line."""
    for name, value in values.items():
        text = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
        line = re.search(rf"^#?{name}:.*$", sample, re.M)
        assert line is not None, name
        sample = f"{sample[: line.start()]}{name}: {text}{sample[line.end() :]}"
    return sample


def with_previews(text: str, domain: str) -> str:
    """A file of `config/` with its lines for previews in use. Prose has one space behind its `#`, they have not."""
    lines, there = [], False
    for line in text.split("\n"):
        bare = line.lstrip()
        there = bare.startswith(_OF_PREVIEWS) or (there and bare.startswith("#"))
        used = there and re.match(r"#(?! \S)", bare) is not None
        lines.append(line.replace("#", "", 1) if used else line)
    text = "\n".join(lines).replace(_PREVIEW_DOMAIN, domain)
    return text.replace(re.escape(_PREVIEW_DOMAIN), re.escape(domain).replace(r"\-", "-"))


def _values(domain: str, forgejo: str, redis: str, options: argparse.Namespace) -> dict[str, str]:
    values: dict[str, str] = {"pagesDomain": domain, "forgejoHost": forgejo}
    if options.preview_domain:
        values["previewDomain"] = options.preview_domain.strip()
    if redis:
        values["redisHost"] = redis
    if options.caddy or options.compose:
        values["adminListen"] = "127.0.0.1:8081"
    if options.traefik:
        values["traefikServiceURL"] = "http://127.0.0.1:8080"
    return values


def _answer(given: str | None, question: str, ask: Callable[[str], str]) -> str:
    return (ask(question) if given is None else given).strip()


def _failed(reason: str) -> int:
    print(f"pages init: {reason}", file=sys.stderr)
    return 1
