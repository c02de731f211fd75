# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`config/container/`: what the compose file and the Containerfile say of each other, of Caddy and of the settings.

Docker is not needed for that; whether the file is one that Compose takes was tried with its own reader (compose-go).
"""

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from addon.settings.schema import Settings
from tests.config.test_caddy import CADDYFILE
from tests.integration.running import ROOT

FOLDER = ROOT / "config" / "container"
CONTAINERFILE = (FOLDER / "Containerfile").read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe").load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
KEYS = (
    "cap_drop command depends_on environment image mem_limit network_mode ports read_only restart security_opt"
    " stop_grace_period volumes"
)


def test_each_service_is_made_of_what_compose_knows_and_refers_to_what_is_there() -> None:
    assert set(COMPOSE) == {"services", "volumes"}
    named = set()
    for name, service in SERVICES.items():
        assert set(service) <= set(KEYS.split()), name
        assert set(service.get("depends_on", ())) <= set(SERVICES) - {name}
        network = service.get("network_mode", "")
        assert not network or network.removeprefix("service:") in SERVICES
        assert not (network and service.get("ports")), name  # ports belong to whose network it is
        for volume in service.get("volumes", ()):
            source, target, *_ = volume.split(":")
            assert target.startswith("/")
            if not source.startswith("./"):
                named.add(source)
        for port in service.get("ports", ()):
            assert re.fullmatch(r"[0-9]+:[0-9]+(/udp)?", port)
    assert named == set(COMPOSE["volumes"])


def test_caddy_reaches_the_pages_server_and_asks_it_and_nobody_else_can() -> None:
    pages, caddy = SERVICES["pages"], SERVICES["caddy"]
    assert caddy["network_mode"] == "service:pages"
    assert pages["environment"]["PAGES_LISTEN"] == re.findall(r"PAGES_UPSTREAM:([^}]+)", CADDYFILE.read_text())[0]
    # The settings that the file's head asks for.
    head = (FOLDER / "compose.yaml").read_text().partition("services:")[0]
    wanted = dict(re.findall(r"^#   (forgejoHost|redisHost|adminListen): (.+)$", head, re.M))
    settings = Settings.from_mapping({"pagesDomain": "pages.example.org", **wanted}, environ={"HOME": "/nowhere"})
    assert settings.redis_host == "valkey"
    assert {"forgejo", "valkey"} <= set(SERVICES)
    assert f"http://{settings.admin_listen[0]}/ask" in CADDYFILE.read_text()
    assert "./Caddyfile:/etc/caddy/Caddyfile:ro" in caddy["volumes"]
    assert set(re.findall(r"\{\$([A-Z_]+)", CADDYFILE.read_text())) >= set(caddy["environment"])


def test_the_image_keeps_its_state_where_the_volume_is_and_ends_in_time() -> None:
    pages = SERVICES["pages"]
    (state,) = re.findall(r"^VOLUME (\S+)$", CONTAINERFILE, re.M)
    assert f"STATE_DIRECTORY={state}" in CONTAINERFILE
    assert f"pages-state:{state}" in pages["volumes"]
    (config,) = re.findall(r'"--config", "([^"]+)"', CONTAINERFILE)
    assert f"./pages.yaml:{config}:ro" in pages["volumes"]
    assert int(pages["stop_grace_period"].removesuffix("s")) > 30  # what is under way is answered first
    assert pages["read_only"] is True
    assert pages["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("line", re.findall(r"^COPY (?!--from)(\S+) ", CONTAINERFILE, re.M))
def test_what_is_copied_is_there(line: str) -> None:
    assert (ROOT / line).exists()


def test_the_health_check_asks_where_it_listens() -> None:
    (port,) = re.findall(r"PAGES_LISTEN=0\.0\.0\.0:([0-9]+)", CONTAINERFILE)
    assert f"EXPOSE {port}" in CONTAINERFILE
    check = re.findall(r'HEALTHCHECK .*?"python", "-c", \\\n\s+"([^"]+)"\]', CONTAINERFILE, re.S)[0]
    assert f"'127.0.0.1', {port}" in check
    compile(check, "healthcheck", "exec")
