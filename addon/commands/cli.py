# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The command `pages`: its subcommands, their arguments, their help and exit codes.

What a subcommand does is in the module of its name, imported only when it is asked for: so `pages check` is quick, and
says what is wrong with a file even where nothing else is installed.
"""

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path

from addon import __version__
from addon.commands.arguments import (
    Commands,
    command,
    completes_folders,
    count,
    port,
    settings_file,
    site,
    takes_json,
    takes_settings,
)
from addon.commands.running_server import NoServer
from addon.settings.schema import SettingsError, load

BROKEN_PIPE = 141
"""What a shell says of a program that SIGPIPE ended: who reads our output has had enough of it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parser().parse_args(arguments)
    try:
        code = options.run(options)
        sys.stdout.flush()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    except NoServer as reason:
        print(f"pages {options.command}: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it once more
        return BROKEN_PIPE
    assert isinstance(code, int)
    return code


def versions() -> str:
    """This software's version, and those of what it stands on."""
    try:
        mitmproxy = version_of("mitmproxy")
    except PackageNotFoundError:
        mitmproxy = "not installed"
    return f"pages {__version__} (mitmproxy {mitmproxy}, Python {platform.python_version()})"


def parser() -> argparse.ArgumentParser:
    """All of the command line."""
    top = argparse.ArgumentParser(
        prog="pages",
        description="A pages server for Forgejo, inside mitmproxy.",
        epilog="`pages COMMAND --help` says more about each.",
    )
    top.add_argument("--version", action="version", version=versions())
    commands: Commands = top.add_subparsers(required=True, metavar="COMMAND", dest="command")
    _starting(commands)
    _running(commands)
    _sites(commands)
    return top


def _starting(commands: Commands) -> None:
    preview = command(
        commands,
        "preview",
        _preview,
        "Show a folder or repository of yours as it would be published.",
        examples=("pages preview ~/my-site", "pages preview ~/my-site --name alice/blog --open"),
        codes=("0  ended by Ctrl+C", "1  there is nothing to show, or the port is taken"),
    )
    completes_folders(
        preview.add_argument(
            "directory",
            nargs="?",
            metavar="DIR",
            type=Path,
            help="default: the site that the current folder is in, or else an example",
        )
    )
    preview.add_argument("--port", type=port, help="default: 8080, or the next one that is free; 0: any free one")
    preview.add_argument("--name", metavar="OWNER[/REPOSITORY]", help="publish as this; default: the folder's name")
    preview.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="listen there, such as 0.0.0.0; default: this machine only",
    )
    preview.add_argument(
        "--allow-host", metavar="NAME", action="append", default=[], help="a name under which it is reached, too"
    )
    preview.add_argument("--open", action="store_true", help="open it in the browser")
    completes_folders(
        preview.add_argument("--example", metavar="DIR", type=Path, help="write the example site there, and show it")
    )
    takes_settings(preview)

    init = command(
        commands,
        "init",
        _init,
        "Write a settings file, and files for the programs around the server.",
        examples=(
            "pages init",
            "pages init --pages-domain pages.example.org --forgejo http://127.0.0.1:3000 --caddy --systemd",
        ),
        codes=("0  written", "1  a file is there already, or an answer cannot be used"),
    )
    completes_folders(init.add_argument("directory", nargs="?", metavar="DIR", type=Path, default=Path()))
    init.add_argument("--pages-domain", metavar="DOMAIN", help="instead of being asked: the domain of the sites")
    init.add_argument("--forgejo", metavar="URL", help="instead of being asked: where Forgejo is")
    init.add_argument("--preview-domain", metavar="DOMAIN", help="the domain of previews, into all of these files; off")
    init.add_argument("--redis", metavar="HOST", help="instead of being asked: the Redis or Valkey; '' for none")
    for name in ("caddy", "nginx", "traefik", "systemd", "compose"):
        init.add_argument(f"--{name}", action="store_true", help=f"write the files for {name}, filled in")
    init.add_argument("--force", action="store_true", help="overwrite what is there")

    check = command(
        commands,
        "check",
        _check,
        "Say what is wrong with a settings file, without starting anything.",
        examples=("pages check pages.yaml", "pages check --offline --json pages.yaml"),
        codes=("0  it can be served", "1  something in it has to be changed"),
    )
    check.add_argument("--offline", action="store_true", help="do not try to reach Forgejo")
    takes_settings(check, positional=True)
    takes_json(check)

    check_site = command(
        commands,
        "check-site",
        _check_site,
        "Say what is wrong with the site in a folder, before it is pushed.",
        examples=("pages check-site ~/my-site",),
        codes=("0  nothing is wrong", "1  something has to be changed", "2  there is nothing to look at"),
    )
    completes_folders(check_site.add_argument("directory", metavar="DIR", type=Path, help="a folder as for preview"))
    takes_json(check_site)

    files = command(
        commands,
        "files",
        _files,
        "Say where the sample settings, the guides and the files for other programs are.",
        examples=("pages files", "pages files caddy/Caddyfile"),
    )
    files.add_argument("name", nargs="?", metavar="NAME", help="print this one, such as pages.yaml or caddy/Caddyfile")
    takes_json(files)

    completion = command(
        commands,
        "completion",
        _completion,
        "Print a script with which a shell completes this command.",
        examples=("pages completion bash > ~/.local/share/bash-completion/completions/pages",),
    )
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))


def _running(commands: Commands) -> None:
    serve = command(
        commands,
        "serve",
        _serve,
        "Run mitmdump with the addon and the safest options.",
        examples=("pages serve pages.yaml", "pages serve --processes 4"),
        codes=("0  ended by SIGTERM or Ctrl+C", "1  it could not start; the reason is on standard error"),
    )
    serve.add_argument("--processes", metavar="N", type=count, help="number of processes; default: from the settings")
    takes_settings(serve, positional=True)

    doctor = command(
        commands,
        "doctor",
        _doctor,
        "Try everything that a deployment depends on, and say what has to be changed.",
        examples=("pages doctor pages.yaml",),
        codes=("0  all is well", "1  something has to be changed"),
    )
    takes_settings(doctor, positional=True)
    takes_json(doctor)

    explain = command(
        commands,
        "explain",
        _explain,
        "Say what the running server answers at an address, and why, step by step.",
        examples=(
            "pages explain https://alice.pages.example.org/blog/",
            "pages explain --cold https://www.example.org/missing.html",
            "pages explain --header Accept-Encoding:br --json alice.pages.example.org/app.js",
        ),
        codes=("0  explained, whatever the answer is", "1  no running server could be asked; it needs adminListen"),
    )
    explain.add_argument("url", metavar="URL")
    explain.add_argument("--cold", action="store_true", help="ask Forgejo, and ignore what memory and Redis hold")
    explain.add_argument("--method", choices=("GET", "HEAD", "OPTIONS"), default="GET")
    explain.add_argument(
        "--header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        help="a header of the request, such as a cookie",
    )
    takes_settings(explain)
    takes_json(explain)

    sites = command(
        commands,
        "sites",
        _sites_list,
        "List the sites that the running server holds: commit, age, size, hits, last error.",
        examples=("pages sites", "pages sites --sort error", "pages sites --json"),
        codes=("0  listed", "1  no running server could be asked; it needs adminListen"),
    )
    sites.add_argument(
        "--sort",
        choices=("hits", "age", "files", "bytes", "error", "site"),
        default="hits",
        help="the largest or latest first; default: hits",
    )
    takes_settings(sites)
    takes_json(sites)

    warm = command(
        commands,
        "warm",
        _warm,
        "Load sites into the running server's memory before anybody requests them.",
        examples=("pages warm alice/blog bob/docs", "pages warm sites.txt"),
        codes=("0  all are loaded", "1  some are no site, or no server could be asked; it needs adminListen"),
    )
    warm.add_argument(
        "what", nargs="+", metavar="FILE|OWNER/REPO|HOST", help="a FILE has one site per line; - is standard input"
    )
    takes_settings(warm)

    purge = command(
        commands,
        "purge",
        _purge,
        "Make every server ask Forgejo again about a site. Nothing is deleted.",
        examples=("pages purge alice/blog", "pages purge --all"),
    )
    purge.add_argument("what", nargs="?", metavar="OWNER/REPO|HOST")
    purge.add_argument("--all", action="store_true", help="ask again about all sites")
    takes_settings(purge)
    takes_json(purge)


def _sites(commands: Commands) -> None:
    hash_ = command(
        commands,
        "hash",
        _hash,
        "Ask for a password and print the line for .pages.",
        examples=("pages hash", "pass show blog | pages hash >> .pages"),
    )
    hash_.add_argument("--sha256", action="store_true", help="the Traefik plugin's form instead of argon2id")
    hash_.add_argument("--branches", action="store_true", help="for branchesPassword instead of password")

    domains = command(
        commands,
        "domains",
        None,
        "List custom domains, and assign or release them by hand.",
        examples=("pages domains list", "pages domains add www.example.org alice/blog"),
    )
    actions: Commands = domains.add_subparsers(required=True, metavar="ACTION", dest="action")
    listing = command(
        actions,
        "list",
        _domains,
        "Print all domains, one per line: host, OWNER/REPO[@BRANCH], and who set it.",
        examples=("pages domains list", "pages domains list alice/blog --json"),
    )
    listing.add_argument("site", nargs="?", metavar="OWNER/REPO", type=site, help="only those of this site")
    add = command(
        actions,
        "add",
        _domains,
        "Make a host show a site, whatever the site says of it.",
        examples=("pages domains add www.example.org alice/blog@main",),
    )
    add.add_argument("host", metavar="HOST")
    add.add_argument("site", metavar="OWNER/REPO[@BRANCH]", type=site)
    release = command(
        actions,
        "release",
        _domains,
        "Release a host, with the hosts of its branches and all their keys.",
        examples=("pages domains release www.example.org",),
    )
    release.add_argument("host", metavar="HOST")
    verify = command(
        actions,
        "verify",
        _domains,
        "Say what DNS says of a host, and which record is missing.",
        examples=("pages domains verify www.example.org alice/blog",),
        codes=("0  DNS proves it", "1  a record is missing, or DNS does not answer"),
    )
    verify.add_argument("host", metavar="HOST")
    verify.add_argument("site", nargs="?", metavar="OWNER/REPO", type=site, help="whose it should be")
    sync = command(
        actions,
        "sync",
        _domains,
        "Write Traefik's routers for all hosts again.",
        examples=("pages domains sync",),
    )
    for action in (listing, add, release, verify, sync):
        takes_settings(action)
        takes_json(action)

    reap = command(
        commands,
        "reap",
        _reap,
        "Release the domains of repositories that are gone, and those that no site names.",
        examples=("pages reap --dry-run",),
        codes=("0  done", "1  it could not be done", "2  some sites could not be asked about; their domains stay"),
    )
    reap.add_argument("--dry-run", action="store_true", help="only say what would be released")
    reap.add_argument("--force", action="store_true", help="even if that is more than a tenth of all domains")
    takes_settings(reap)
    takes_json(reap)


# What each of them calls.


def _preview(options: argparse.Namespace) -> int:
    from addon.commands.preview import preview_command

    return preview_command(options)


def _init(options: argparse.Namespace) -> int:
    from addon.commands.init import init_command

    return init_command(options)


def _check(options: argparse.Namespace) -> int:
    from addon.commands.check import check_command

    return check_command(settings_file(options), offline=options.offline, as_json=options.json)


def _check_site(options: argparse.Namespace) -> int:
    from addon.commands.check_site import check_site_command

    return check_site_command(options.directory, as_json=options.json)


def _files(options: argparse.Namespace) -> int:
    from addon.commands.files import files_command

    return files_command(options.name, as_json=options.json)


def _completion(options: argparse.Namespace) -> int:
    try:
        from shtab import complete
    except ModuleNotFoundError:
        print("pages completion: needs shtab: pip install shtab", file=sys.stderr)
        return 1
    print(complete(parser(), shell=options.shell))
    return 0


def _serve(options: argparse.Namespace) -> int:
    from addon.commands.serve import serve_command

    return serve_command(settings_file(options), options.processes)


def _doctor(options: argparse.Namespace) -> int:
    from addon.commands.doctor import doctor_command

    path = settings_file(options)
    return doctor_command(path, load(path), as_json=options.json)


def _explain(options: argparse.Namespace) -> int:
    from addon.commands.explain import explain_command

    settings = load(settings_file(options))
    return explain_command(
        settings,
        options.url,
        method=options.method,
        headers=options.header,
        cold=options.cold,
        as_json=options.json,
    )


def _sites_list(options: argparse.Namespace) -> int:
    from addon.commands.sites import sites_command

    return sites_command(load(settings_file(options)), by=options.sort, as_json=options.json)


def _warm(options: argparse.Namespace) -> int:
    from addon.commands.warm import warm_command

    return warm_command(load(settings_file(options)), options.what)


def _purge(options: argparse.Namespace) -> int:
    from addon.commands.purge import purge_command

    if options.all == (options.what is not None):
        print("pages purge: expected OWNER/REPO, a host name, or --all", file=sys.stderr)
        return 2
    return purge_command(load(settings_file(options)), options.what, as_json=options.json)


def _hash(options: argparse.Namespace) -> int:
    from addon.commands.hash import hash_command

    return hash_command(sha256=options.sha256, branches=options.branches)


def _domains(options: argparse.Namespace) -> int:
    if options.action == "verify":
        from addon.commands.verify import verify_command

        return verify_command(load(settings_file(options)), options.host, options.site, as_json=options.json)
    from addon.commands.domains import domains_command

    return domains_command(load(settings_file(options)), options)


def _reap(options: argparse.Namespace) -> int:
    from addon.commands.reap import reap_command

    return reap_command(
        load(settings_file(options)), dry_run=options.dry_run, force=options.force, as_json=options.json
    )


if __name__ == "__main__":
    sys.exit(main())
