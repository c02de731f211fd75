# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Whether the files, folders and packages that the settings ask for can be used: what the settings alone do not tell.

Asked before the start and by `pages check`, so that both say the same and nobody meets a traceback. Makes nothing but
`stateDir`, which has to be there anyway, and only when told to.
"""

import errno
import os
import socket
import ssl
from importlib.util import find_spec

from addon.settings.addresses import ListenAddress
from addon.settings.schema import Settings


def problems(settings: Settings, *, make: bool = False) -> list[str]:
    """One line for each file or folder that cannot be used, naming the option; empty if all can.

    make: create `stateDir` (mode 0700) where it is missing; otherwise its being missing is no problem.
    """
    found = []
    state = settings.state_dir
    try:
        if make:
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            state.chmod(0o700)
        if (make or state.exists()) and not (state.is_dir() and os.access(state, os.W_OK | os.X_OK)):
            found.append(f"stateDir: expected a folder that this user may write to, found {state}")
    except OSError as error:
        found.append(f"stateDir: {state} cannot be made ({error.strerror}): name a folder that this user may write to")
    log = settings.access_log
    if log is not None and log != "stderr":
        if log.is_dir():
            found.append(f"accessLog: expected a file, found the folder {log}")
        elif not log.parent.is_dir():
            found.append(f"accessLog: the folder {log.parent} does not exist: make it first")
        elif not os.access(log if log.exists() else log.parent, os.W_OK):
            found.append(f"accessLog: this user may not write to {log}")
    if find_spec("dns") is None:  # a clone beside mitmproxy alone
        wanted = {
            "enableCustomDomainDNSVerification": settings.enable_custom_domain_dns_verification,
            "requireKeyedProof": settings.require_keyed_proof,
            "dnsResolvers": bool(settings.dns_resolvers),
        }
        found += [f"{name}: needs dnspython: pip install dnspython" for name, is_set in wanted.items() if is_set]
    authorities = settings.forgejo_ca_file
    if authorities is not None:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(authorities)
            if not context.cert_store_stats()["x509"]:
                found.append(f"forgejoCAFile: there is no certificate in {authorities}")
        except ssl.SSLError:
            found.append(f"forgejoCAFile: expected certificates in PEM form, found something else in {authorities}")
        except OSError as error:
            found.append(f"forgejoCAFile: {authorities} cannot be read ({error.strerror})")
    return found


def unlistenable(address: ListenAddress) -> str:
    """Why this user cannot listen on an address; empty if it can, or if somebody does already."""
    host = address.host or "0.0.0.0"
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(place)
    except PermissionError:
        return (
            "ports below 1024 need a right: AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit, or"
            " sysctl net.ipv4.ip_unprivileged_port_start=80"
        )
    except socket.gaierror as error:
        return f"{host} has no address ({error.strerror})"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return ""
        return f"this machine cannot listen there ({error.strerror}): name one of its own addresses"
    return ""
