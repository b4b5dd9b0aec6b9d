"""Dashboard, alerts and runbook say nothing that is not there: metrics, sections, messages, commands."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import click
import pytest
import ray
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ochat_ray.cli import _parse
from ochat_ray.config import load_recipe
from ochat_ray.metrics import METRICS
from ochat_ray.serve.metrics import Metrics

ROOT = Path(__file__).parent.parent.parent
CLUSTER = ROOT / "cluster"
MONITORING = CLUSTER / "monitoring"
RAY = Path(ray.__file__).parent
RUNBOOK = (CLUSTER / "RUNBOOK.md").read_text()
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [
    rule
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool (Debian: prometheus)")

# Of PromQL: neither metrics nor labels.
WORDS = {"and", "or", "unless", "offset", "bool", "inf", "nan", "by", "without", "on", "ignoring"}
LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression reads."""
    plain = re.sub(r'"[^"]*"', "", expression)
    plain = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", LABELS.sub(" ", plain))
    found = re.findall(r"(?<![\w.$])([A-Za-z_:][\w:]*)\b(?!\s*\()", plain)
    return set(found) - WORDS


def labels_in(expression: str) -> set[str]:
    """The labels that an expression names."""
    plain = re.sub(r'"[^"]*"', '""', expression)
    grouped = {name.strip() for names in LABELS.findall(plain) for name in names.split(",")}
    return grouped | set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", plain))


@cache
def exported() -> frozenset[str]:
    """The names that our code and the installed Ray export."""
    names = {"up"} | {name for metric in METRICS for name in metric.exported}
    for family in text_string_to_metric_families(Metrics().text().decode()):
        names |= {family.name, f"{family.name}_total", f"{family.name}_bucket"}
    suffixes = {"Gauge": [""], "Counter": ["_total"], "Histogram": ["_bucket", "_sum", "_count"]}
    sources = [*(RAY / "serve/_private").rglob("*.py"), RAY / "dashboard/modules/reporter/reporter_agent.py"]
    for path in sources:
        for kind, name in re.findall(r"\b(Gauge|Counter|Histogram)\(\s*\"(\w+)\"", path.read_text()):
            base = name.removesuffix("_total") if kind == "Counter" else name
            names |= {f"ray_{base}{end}" for end in suffixes[kind]}
    # Those of Ray's C++, and with names that are put together: those of Ray's own dashboards.
    for path in (RAY / "dashboard/modules/metrics/dashboards").glob("*_panels.py"):
        names |= set(re.findall(r"\bray_\w+", path.read_text()))
    return frozenset(names)


def expressions() -> list[tuple[str, str]]:
    """All of dashboard and alerts, with where they are."""
    shown = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
    return shown + [(rule["alert"], rule["expr"]) for rule in RULES]


def test_metrics_are_found_in_expressions() -> None:
    expression = (
        'sum by (run, le) (rate(a_total{x=~"b"}[5m])) / on (run) max(c:d) unless e offset 15m > 2 * f'
    )
    assert metrics_in(expression) == {"a_total", "c:d", "e", "f"}
    assert labels_in(expression) == {"run", "le", "x"}
    assert {"ray_node_disk_free", "ray_serve_num_http_requests_total", "ochat_requests_total"} <= exported()


@pytest.mark.parametrize(("where", "expression"), expressions(), ids=lambda text: text[:40])
def test_every_metric_is_one_that_is_exported(where: str, expression: str) -> None:
    found = metrics_in(expression)
    assert found, where
    assert found - exported() == set()


OURS = {name: metric for metric in METRICS for name in metric.exported}


@pytest.mark.parametrize("expression", [text for _, text in expressions() if metrics_in(text) <= OURS.keys()])
def test_every_label_is_one_that_our_metrics_have(expression: str) -> None:
    known = {"le"}
    for metric in (OURS[name] for name in metrics_in(expression)):
        known |= {*metric.tags, *(("deployment", "replica", "application") if metric.of_replica else ())}
    assert labels_in(expression) <= known


def test_the_dashboard_shows_all_that_we_export() -> None:
    shown = {name for _, expression in expressions() for name in metrics_in(expression)}
    hidden = {metric.name for metric in METRICS if not shown & set(metric.exported)}
    assert hidden == {"ochat_data_kept_conversations", "ochat_request_seconds"}


def test_the_dashboard_has_the_shape_that_grafana_reads() -> None:
    assert {"uid", "title", "schemaVersion", "templating", "panels", "time"} <= DASHBOARD.keys()
    assert DASHBOARD["schemaVersion"] >= 36
    assert "id" not in DASHBOARD, "Grafana gives it"
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in PANELS:
        assert panel["datasource"] == source
        assert panel["title"] and panel["description"] and panel["targets"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references), panel["title"]
        assert all(target["datasource"] == source and target["legendFormat"] for target in panel["targets"])
        used = {name for target in panel["targets"] for name in re.findall(r"\$(\w+)", target["expr"])}
        assert used <= {*variables, "__rate_interval", "__range"}, panel["title"]


def test_panels_are_told_apart_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert len(set(titles)) == len(titles)
    boxes = {panel["title"]: panel["gridPos"] for panel in DASHBOARD["panels"]}
    for title, box in boxes.items():
        assert box["x"] >= 0 and box["y"] >= 0 and box["w"] > 0 and box["h"] > 0, title
        assert box["x"] + box["w"] <= 24, title
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, f"{one} and {other} overlap"


def anchors(text: str) -> set[str]:
    """The anchors of a Markdown file's sections, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Ochat([A-Z][a-z]+)+", rule["alert"])
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))
    assert rule["annotations"].keys() == {"summary", "runbook"}
    file, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert ROOT / file == CLUSTER / "RUNBOOK.md"
    assert anchor in anchors(RUNBOOK)
    assert f"`{rule['alert']}`" in RUNBOOK, "the section's signs name the alert"


def test_the_runbook_names_no_alert_that_is_not_there() -> None:
    alerts = [rule["alert"] for rule in RULES]
    assert len(set(alerts)) == len(alerts)
    assert set(re.findall(r"`(Ochat\w+)`", RUNBOOK)) == set(alerts)


def test_every_alert_has_a_test_of_its_own() -> None:
    tests = yaml.safe_load((MONITORING / "alerts.test.yaml").read_text())["tests"]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    for fires in (True, False):
        tested = {check["alertname"] for check in checks if bool(check["exp_alerts"]) == fires}
        assert tested == {rule["alert"] for rule in RULES}


def promtool(*arguments: str) -> str:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], capture_output=True, text=True, cwd=MONITORING, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_promtool
def test_promtool_takes_the_configuration_and_all_rules() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "config", "prometheus.yaml")


@needs_promtool
def test_alerts_fire_when_they_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts.test.yaml")


@needs_promtool
def test_promtool_takes_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    texts = [target["expr"] for panel in PANELS for target in panel["targets"]]
    rules = [
        {"record": f"x{number}", "expr": re.sub(r"\$__\w+", "5m", text)} for number, text in enumerate(texts)
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": rules}]}))
    assert f"{len(texts)} rules found" in promtool("check", "rules", str(file))


def test_prometheus_scrapes_the_cluster_and_the_endpoint() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    assert [MONITORING / name for name in config["rule_files"]] == [MONITORING / "alerts.yaml"]
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    named = {name for _, text in expressions() for name in re.findall(r'job="([^"]+)"', text)}
    assert named == jobs.keys()
    serve = yaml.safe_load((CLUSTER / "serve.yaml").read_text())["http_options"]["port"]
    assert jobs["ochat-endpoint"]["static_configs"] == [{"targets": [f"127.0.0.1:{serve}"]}]


@cache
def texts_of_the_code() -> tuple[str, ...]:
    """Every constant text in the package, and the constant pieces of those that are formatted."""
    found: list[str] = []
    for path in sorted((ROOT / "ochat_ray").rglob("*.py")):
        tree = ast.parse(path.read_text())
        found += [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return tuple(found)


MESSAGES = [line.removeprefix("> ") for line in RUNBOOK.splitlines() if line.startswith("> ")]


@pytest.mark.parametrize("message", MESSAGES)
def test_every_quoted_message_is_one_of_the_code(message: str) -> None:
    pieces = [piece.strip() for piece in message.split("...") if piece.strip()]
    assert max(map(len, pieces)) >= 8, "too little to know it by"
    for piece in pieces:
        assert any(piece in text for text in texts_of_the_code()), piece


def commands() -> Iterator[str]:
    for block in re.findall(r"^```bash\n(.*?)^```", RUNBOOK, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()


COMMANDS = sorted(set(commands()))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one(command: str) -> None:
    name, *words = shlex.split(command)
    if name == "ochat-ray":
        ours(words)
    elif name in ("ray", "serve"):
        theirs(name, words)
    else:
        assert name in ("export", "curl", "ls", "tail", "df", "du", "git"), command


def ours(words: list[str]) -> None:
    """Words that our command line takes, with overrides that a recipe takes."""
    args = _parse(words)
    if args.command == "submit":
        ours([args.job, *args.words])
    elif args.overrides:
        assert load_recipe("openchat", args.overrides)


def theirs(name: str, words: list[str]) -> None:
    """Words that the command lines of Ray and of Serve take; nothing is run."""
    if name == "serve":
        from ray.serve.scripts import cli
    else:
        from ray.scripts.scripts import cli
    command: click.Command = cli
    context = click.Context(command, info_name=name)
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, f"{name} has no command {words[0]}"
        command, words = found, words[1:]
    command.make_context(command.name, words, parent=context)


def test_each_section_tells_sign_cause_see_mend_and_loss() -> None:
    sections = re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)[1:]
    assert len(sections) >= 10
    for section in sections:
        marks = re.findall(r"^\*\*(\w+)\.\*\*", section, re.MULTILINE)
        assert marks == ["Sign", "Cause", "See", "Mend", "Lost"], section.splitlines()[0]


def test_files_that_the_runbook_links_to_are_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", RUNBOOK)
    assert links
    assert [link for link in links if not (CLUSTER / link).exists()] == []
