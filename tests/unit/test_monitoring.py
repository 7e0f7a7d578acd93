"""The dashboard and the alerts ask for what nodes really count, and everything they name is explained."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from realtime.bus.envelope import Refusal
from realtime.gateway.session import CloseReason
from realtime.telemetry.metrics import Metrics
from tools.cluster import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

CATALOGUE = {one.name: one for one in Metrics().catalogue}
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "roomwire.json").read_text("utf-8"))
RULES_FILE = ROOT / "deploy" / "prometheus" / "alerts.yaml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES_FILE.read_text("utf-8"))["groups"] for rule in group["rules"]
]
RUNBOOK = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
OF_PROMETHEUS = {"job", "instance", "le", "version"}
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds",
           "process_start_time_seconds"}  # fmt: skip
SAMPLE = re.compile(r"\b((?:roomwire|process)_[a-z_]+)(?:\{([^}]*)\})?")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")


def panels() -> Iterator[dict[str, Any]]:
    yield from DASHBOARD["panels"]


QUERIES = [
    *((f"panel {panel['title']}", target["expr"]) for panel in panels() for target in panel.get("targets", [])),
    *((f"annotation {one['name']}", one["expr"]) for one in DASHBOARD["annotations"]["list"]),
    *((f"variable {one['name']}", one["query"]) for one in DASHBOARD["templating"]["list"] if one["type"] == "query"),
    *((f"alert {rule['alert']}", rule["expr"]) for rule in RULES),
]


def metric_of(sample: str) -> str | None:
    """Return the name of the metric that has a sample; None: nothing has it."""
    if sample in CATALOGUE or sample in PROCESS:
        return sample
    name = _SUFFIX.sub("", sample)
    return name if name != sample and name in CATALOGUE and CATALOGUE[name].kind == "histogram" else None


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[where for where, _ in QUERIES])
def test_a_query_names_metrics_and_labels_that_exist(where: str, query: str) -> None:
    found = SAMPLE.findall(query)
    assert found or 'up{job="roomwire"}' in query, "it asks for nothing of ours"
    allowed = set(OF_PROMETHEUS)
    for sample, selector in found:
        metric = metric_of(sample)
        assert metric is not None, f"{sample} is counted nowhere"
        labels = set(CATALOGUE[metric].labels) if metric in CATALOGUE else set()
        allowed |= labels
        if metric in CATALOGUE:
            kind = CATALOGUE[metric].kind
            assert not (kind == "counter" and "rate(" not in query and "increase(" not in query), f"{sample} only ever grows"
        assert set(re.findall(r"(\w+)\s*[=!]~?", selector)) <= labels | OF_PROMETHEUS, f"{sample} has no such label"
    for names in re.findall(r"\bby \(([^)]*)\)", query):
        assert {name.strip() for name in names.split(",")} <= allowed
    assert query.count("(") == query.count(")") and query.count("{") == query.count("}")


def test_values_of_labels_are_such_that_occur() -> None:
    reasons = {one.value for one in CloseReason} | {one.value for one in Refusal}
    for where, query in QUERIES:
        for value in re.findall(r'reason=~?"([^"]*)"', query):
            assert set(value.split("|")) <= reasons, where


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    assert DASHBOARD["schemaVersion"] >= 39 and DASHBOARD["uid"] and DASHBOARD["title"]
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells
        if panel["type"] != "row":
            assert panel["targets"] and panel["datasource"]["uid"] == "${datasource}"


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {metric_of(sample) for _, query in QUERIES for sample, _ in SAMPLE.findall(query)}
    assert set(CATALOGUE) - shown == set()


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_says_what_is_wrong_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    summary, runbook = rule["annotations"]["summary"], rule["annotations"]["runbook"]
    assert summary.endswith(".") and runbook == f"docs/monitoring.md#{rule['alert'].lower()}"
    assert re.search(rf"^### {rule['alert']}$", RUNBOOK, re.MULTILINE), "it is not explained"


def test_the_runbook_explains_no_alert_that_there_is_not() -> None:
    assert set(re.findall(r"^### (Roomwire\w+)$", RUNBOOK, re.MULTILINE)) == {rule["alert"] for rule in RULES}


def test_promtool_finds_nothing_wrong() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; the tests above check names, labels and form")
    done = subprocess.run([promtool, "check", "rules", str(RULES_FILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_scrape_configuration_is_that_of_the_rules() -> None:
    found = yaml.safe_load((RULES_FILE.parent / "prometheus.yaml").read_text("utf-8"))
    assert found["rule_files"] == [RULES_FILE.name]
    assert found["scrape_configs"][0]["job_name"] == "roomwire"
