# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The alert rules: Prometheus understands them, every metric in them is one of ours, and each says what to do."""

import os
import re
import shutil
import subprocess

import pytest
from ruamel.yaml import YAML

from addon.admin import metrics
from tests.addon.admin.test_process_numbers import numbers
from tests.integration.running import ROOT

RULES = ROOT / "config" / "prometheus" / "alerts.yaml"


@pytest.mark.skipif(shutil.which("promtool") is None and "CI" not in os.environ, reason="Prometheus is not there")
def test_prometheus_understands_the_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_about_metrics_that_there_are_and_say_what_to_do() -> None:
    redis = {"state": "answers", "client_tracking": True}
    some = numbers(0) | {"Redis or Valkey": redis, "Custom domains": {"pending_writes": 0}}
    some["Requests"]["faults"] = 0
    known = set(re.findall(r"^(pages_\w+)", metrics.exposition([some], "")[0].decode(), re.M))
    (group,) = YAML(typ="safe").load(RULES)["groups"]
    assert len(group["rules"]) >= 10
    for rule in group["rules"]:
        asked = set(re.findall(r"\bpages_\w+", rule["expr"]))
        assert asked <= known, rule["alert"]
        assert len(rule["annotations"]["action"]) > 40, rule["alert"]
