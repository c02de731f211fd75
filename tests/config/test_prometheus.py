# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The alert rules and the dashboard: Prometheus understands them, and every metric in them is one of ours."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from addon.admin import metrics
from tests.addon.admin.test_process_metrics import numbers
from tests.integration.running import ROOT

DASHBOARD = ROOT / "config" / "grafana" / "dashboard.json"
RULES = ROOT / "config" / "prometheus" / "alerts.yaml"


@pytest.mark.skipif(shutil.which("promtool") is None and "CI" not in os.environ, reason="Prometheus is not there")
def test_prometheus_understands_the_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def known_metrics() -> set[str]:
    """The names of all samples that there may be."""
    some = numbers(0) | {
        "Redis or Valkey": {"state": "answers"},
        "Custom domains": {"pending_writes": 0},
        "Disk": {"access_log_lines_lost": 0},
    }
    for row in metrics.TABLE:
        some[row.section] = {row.field: 0, **some.get(row.section, {})}
    return set(re.findall(r"^(pages_\w+)", metrics.exposition([some], "")[0].decode(), re.M))


def test_the_rules_are_about_metrics_that_there_are_and_say_what_to_do() -> None:
    known = known_metrics()
    (group,) = YAML(typ="safe").load(RULES)["groups"]
    assert len(group["rules"]) >= 18
    for rule in group["rules"]:
        asked = set(re.findall(r"\bpages_\w+", rule["expr"]))
        assert asked <= known, rule["alert"]
        assert len(rule["annotations"]["action"]) > 40, rule["alert"]


def test_the_dashboard_shows_metrics_that_there_are() -> None:
    known = known_metrics()
    board = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len(panels) >= 20
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in panels:
        for target in panel["targets"]:
            asked = set(re.findall(r"\bpages_\w+", target["expr"]))
            assert asked, panel["title"]
            assert asked <= known, panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


@pytest.mark.skipif(shutil.which("promtool") is None and "CI" not in os.environ, reason="Prometheus is not there")
def test_prometheus_understands_what_the_dashboard_asks(tmp_path: Path) -> None:
    asked: list[dict[str, str]] = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            expr = target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
            asked.append({"record": f"panel:{len(asked)}", "expr": expr})
    rules = tmp_path / "panels.yaml"
    rules.write_text(json.dumps({"groups": [{"name": "panels", "rules": asked}]}))
    done = subprocess.run(["promtool", "check", "rules", str(rules)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
