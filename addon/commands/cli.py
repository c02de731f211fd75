# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The command `pages`: look at a site on one's own machine, check a settings file, serve.

Each subcommand is a function that returns an exit code: 0 for success, 1 for what the user has to mend, 2 for a wrong
command line. mitmproxy and the preview are imported only by the commands that start them, so that `pages check` is
quick and says what is wrong with a file even where nothing else is installed.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from addon import __version__
from addon.settings.schema import Settings, SettingsError, load

if TYPE_CHECKING:
    from addon.preview.forge import Forge
    from addon.shared.mappings import Mapping

VARIABLE = "PAGES_CONFIG"
EXAMPLE = Path(__file__).parents[1] / "preview" / "example"
PREVIEW_DOMAIN = "pages.localhost"
"""Browsers and curl resolve every name below `localhost` to this machine."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code = options.run(options)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    assert isinstance(code, int)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pages", description="A pages server for Forgejo, inside mitmproxy.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    preview = commands.add_parser("preview", help="show a folder or repository of yours as it would be published")
    preview.add_argument("directory", nargs="?", metavar="DIR", type=Path, help="default: an example site")
    preview.add_argument("--port", type=_port, default=8080, help="default: 8080; 0 takes any free one")
    preview.add_argument("--name", metavar="OWNER[/REPOSITORY]", help="publish as this; default: the folder's name")
    preview.add_argument("--config", metavar="FILE", type=Path, help="take further options from a settings file")
    preview.set_defaults(run=_preview)

    site = commands.add_parser("check-site", help="say what is wrong with the site in a folder, before it is pushed")
    site.add_argument("directory", metavar="DIR", type=Path, help="a folder as for preview")
    site.add_argument("--json", action="store_true", help="as JSON")
    site.set_defaults(run=_check_site)

    check = commands.add_parser("check", help="say what is wrong with a settings file, without starting")
    check.add_argument("file", nargs="?", metavar="FILE", type=Path)
    check.add_argument("--config", metavar="FILE", type=Path, help=f"the settings file; default: ${VARIABLE}")
    check.add_argument("--offline", action="store_true", help="do not try to reach Forgejo")
    check.set_defaults(run=_check)

    doctor = commands.add_parser("doctor", help="try all that a deployment stands on, and say what is to be mended")
    doctor.add_argument("file", nargs="?", metavar="FILE", type=Path)
    doctor.add_argument("--config", metavar="FILE", type=Path, help=f"the settings file; default: ${VARIABLE}")
    doctor.set_defaults(run=_doctor)

    hash_ = commands.add_parser("hash", help="ask for a password and print the line for .pages")
    hash_.add_argument("--sha256", action="store_true", help="the Traefik plugin's form instead of argon2id")
    hash_.add_argument("--branches", action="store_true", help="for branchesPassword instead of password")
    hash_.add_argument("--config", metavar="FILE", type=Path, help="not needed: a hash depends on no settings")
    hash_.set_defaults(run=_hash)

    purge = commands.add_parser("purge", help="make every proxy look again at a site, told through Redis")
    purge.add_argument("what", nargs="?", metavar="OWNER/REPO|HOST")
    purge.add_argument("--all", action="store_true", help="at everything")
    purge.add_argument("--config", metavar="FILE", type=Path, help=f"the settings file; default: ${VARIABLE}")
    purge.set_defaults(run=_purge)

    _domains_parser(commands.add_parser("domains", help="list custom domains, and give them out or free them by hand"))

    reap = commands.add_parser("reap", help="free the domains of vanished repositories, and those that no site names")
    reap.add_argument("--dry-run", action="store_true", help="only say what would be freed")
    reap.add_argument("--force", action="store_true", help="even if that is more than a tenth of all domains")
    reap.add_argument("--config", metavar="FILE", type=Path, help=f"the settings file; default: ${VARIABLE}")
    reap.set_defaults(run=_reap)

    files = commands.add_parser("files", help="say where the sample settings, the guides and the files for others are")
    files.add_argument("name", nargs="?", metavar="NAME", help="print this one, such as pages.yaml or caddy/Caddyfile")
    files.set_defaults(run=_files)

    serve = commands.add_parser("serve", help="run mitmdump with the addon and the safest options")
    serve.add_argument("--config", metavar="FILE", type=Path, help=f"the settings file; default: ${VARIABLE}")
    serve.add_argument("--processes", metavar="N", type=_count, help="how many share the work; default: the settings'")
    serve.set_defaults(run=_serve)
    return parser


def _domains_parser(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    listing = actions.add_parser("list", help="print all, a line each: host, OWNER/REPO[@BRANCH], whose doing it is")
    listing.add_argument("site", nargs="?", metavar="OWNER/REPO", type=_site, help="only those of this site")
    add = actions.add_parser("add", help="make a host show a site, whatever the site says of it")
    add.add_argument("host", metavar="HOST")
    add.add_argument("site", metavar="OWNER/REPO[@BRANCH]", type=_site)
    release = actions.add_parser("release", help="free a host, with the hosts of its branches and all their keys")
    release.add_argument("host", metavar="HOST")
    verify = actions.add_parser("verify", help="say what DNS says of a host, and which record is missing")
    verify.add_argument("host", metavar="HOST")
    verify.add_argument("site", nargs="?", metavar="OWNER/REPO", type=_site, help="whose it should be")
    sync = actions.add_parser("sync", help="write Traefik's routers for all hosts again")
    for action in (listing, add, release, verify, sync):
        action.add_argument("--config", metavar="FILE", type=Path, help=f"the settings file; default: ${VARIABLE}")
        action.set_defaults(run=_domains)


def _site(text: str) -> "Mapping":
    from addon.commands.domains import site_argument

    return site_argument(text)


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, found {text!r}")


def _count(text: str) -> int:
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= 1024:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a number from 1 to 1024, found {text!r}")


def _settings_file(options: argparse.Namespace) -> Path:
    given = getattr(options, "file", None) or options.config or os.environ.get(VARIABLE)
    if not given:
        print(f"pages: no settings file: name one with --config FILE or in {VARIABLE}", file=sys.stderr)
        raise SystemExit(2)
    return Path(given)


# check


def _check(options: argparse.Namespace) -> int:
    path = _settings_file(options)
    settings = load(path)
    if _unusable(path, settings):
        return 1
    for warning in settings.warnings:
        print(f"warning: {warning}")
    if settings.not_used_yet:
        print(f"not used yet: {', '.join(settings.not_used_yet)}")
    if not options.offline:
        problem = asyncio.run(_forgejo_problem(settings))
        if problem:
            print(f"warning: {problem}")
    place = (
        f"{settings.pages_domain}/OWNER" if settings.address_style == "path" else f"{{owner}}.{settings.pages_domain}"
    )
    print(f"{path}: in order. Sites at https://{place}/, from {settings.forgejo_host}")
    return 0


def _unusable(path: Path, settings: Settings, *, make: bool = False) -> bool:
    """Whether files and folders that the settings name cannot be used; says which."""
    from addon.settings.file_checks import problems

    found = problems(settings, make=make)
    for problem in found:
        print(f"{path}: {problem}", file=sys.stderr)
    return bool(found)


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


# doctor


def _check_site(options: argparse.Namespace) -> int:
    from addon.commands.check_site import check_site_command

    return check_site_command(options.directory, as_json=options.json)


def _doctor(options: argparse.Namespace) -> int:
    from addon.commands.doctor import doctor_command

    path = _settings_file(options)
    return doctor_command(path, load(path))


# hash


def _hash(options: argparse.Namespace) -> int:
    from addon.commands.hash import hash_command

    return hash_command(sha256=options.sha256, branches=options.branches)


# purge


def _purge(options: argparse.Namespace) -> int:
    from addon.commands.purge import purge_command

    if options.all == (options.what is not None):
        print("pages purge: expected OWNER/REPO, a host name, or --all", file=sys.stderr)
        return 2
    return purge_command(load(_settings_file(options)), options.what)


# domains


def _domains(options: argparse.Namespace) -> int:
    if options.action == "verify":
        from addon.commands.verify import verify_command

        return verify_command(load(_settings_file(options)), options.host, options.site)
    from addon.commands.domains import domains_command

    return domains_command(load(_settings_file(options)), options)


# reap


def _reap(options: argparse.Namespace) -> int:
    from addon.commands.reap import reap_command

    return reap_command(load(_settings_file(options)), dry_run=options.dry_run, force=options.force)


# files


def _files(options: argparse.Namespace) -> int:
    from addon.commands.files import files_command

    return files_command(options.name)


# serve


def _serve(options: argparse.Namespace) -> int:
    path = _settings_file(options)
    settings = load(path)  # a wrong file is said here, before anything is started
    if _unusable(path, settings, make=True):
        return 1
    from addon.process.supervisor import supervise

    return supervise(Path(os.path.abspath(path)), options.processes)


def work(config: str) -> int:
    """What a process does that the supervisor started."""
    import faulthandler

    from addon.process.worker import joined

    faulthandler.enable()  # where it stands is written before the supervisor ends it
    worker = joined()
    assert worker is not None
    return _mitmdump(Path(config), load(Path(config), text=worker.text).state_dir)


def _mitmdump(config: Path, state_dir: Path) -> int:
    """Run mitmdump in this process, closed until the addon opens it."""
    from mitmproxy.tools.main import mitmdump

    script = Path(__file__).parents[1] / "pages.py"
    arguments = [
        "-n",
        "-s",
        str(script),
        "--set",
        f"confdir={state_dir}",
        "--set",
        f"pages_config={os.path.abspath(config)}",
    ]
    # Safe from the first moment, not only from the moment the script is loaded.
    for option in ("onboarding=false", "connection_strategy=lazy", "keep_host_header=true", "flow_detail=0"):
        arguments += ["--set", option]
    # Of what comes before the settings are read, in another form than ours, only warnings; then `logLevel` counts.
    arguments += ["--set", "termlog_verbosity=warn"]
    mitmdump(arguments)
    return 0


# preview


def _preview(options: argparse.Namespace) -> int:
    from addon.preview.opening import PreviewError, open_preview

    directory = options.directory or EXAMPLE
    try:
        forge = open_preview(directory, options.name or ("example" if options.directory is None else None))
    except PreviewError as error:
        print(f"pages: {error}", file=sys.stderr)
        return 1
    try:
        port = _free_port(options.port)
    except OSError as error:
        print(f"pages: port {options.port}: {error.strerror}: try another, or --port 0", file=sys.stderr)
        return 1
    with contextlib.ExitStack() as stack:
        forge.start_thread()
        stack.callback(forge.stop)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pages-preview-")))
        config = folder / "pages.yaml"
        config.write_text(json.dumps(_preview_options(options.config, forge.port, port, folder)), encoding="utf-8")
        shown = "the example site" if options.directory is None else str(options.directory)
        lines = [f"note: {hint}" for hint in forge.hints]
        lines.append(f"Showing {shown} at")
        lines += [f"  {address}" for address in forge.addresses(PREVIEW_DOMAIN, port)]
        lines.append("Changes are visible on reload. Ctrl+C ends the preview.")
        (folder / "state").mkdir(mode=0o700)
        threading.Thread(target=_say_when_open, args=(port, lines, forge), daemon=True).start()
        return _mitmdump(config, folder / "state")


def _preview_options(config: Path | None, forge: int, port: int, folder: Path) -> dict[str, str | int]:
    """The settings of a preview: those of a file that mean something here, and its own. JSON is YAML, too."""
    options: dict[str, str | int] = {}
    if config is not None:
        given = load(config)
        options = {
            "memoryCacheSize": given.memory_cache_size,
            "maxCachedFileSize": given.max_cached_file_size,
            "maxSiteFiles": given.max_site_files,
            "maxSiteBytes": given.max_site_bytes,
            "workers": given.workers,
            "accessLog": str(given.access_log or "off"),
        }
    return options | {
        "pagesDomain": PREVIEW_DOMAIN,
        "forgejoHost": f"http://127.0.0.1:{forge}",
        "listen": f"127.0.0.1:{port}",
        "cacheTTL": 0,  # changes in the folder are visible on reload
        "browserCacheTTL": 0,
        "logLevel": "warning",
        "stateDir": str(folder / "state"),
    }


def _say_when_open(port: int, lines: list[str], forge: "Forge") -> None:
    """Print where the site is once somebody who reads it can go there; then what is to be mended, as it changes."""
    from addon.commands.check_site import watch

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            print("\n".join(lines), flush=True)
            watch(forge, lambda found: print("\n".join(found), flush=True))
            return


def _free_port(wanted: int) -> int:
    """That port of this machine, or any free one for 0. Raises OSError if it is taken."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", wanted))
        port = listener.getsockname()[1]
    assert isinstance(port, int)
    return port


if __name__ == "__main__":
    sys.exit(main())
