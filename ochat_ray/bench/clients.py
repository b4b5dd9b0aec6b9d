"""Clients that others wrote, against the endpoint: which of their cases pass.

Each goes into an environment of its own below a work folder, with a pinned version; needs node and npm for
two of them. The model is tiny and random, so schemas force what must have a form.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from ochat_ray.bench import record

CASES = Path(__file__).parent / "_client_cases"
MODEL = "openchat"
LIMIT_S = 900  # for all cases of one client
REASON = 110  # characters
PYTEST = "pytest==9.2.0"
# What langchain's tests want of a model's understanding, which random weights do not have.
UNDERSTANDING = ("test_tool_calling", "test_agent_loop", "test_unicode_tool_call", "test_json_mode")


class Client(NamedTuple):
    """A package, what else its cases need, and how they run."""

    package: str
    version: str
    kind: Literal["pytest", "node", "schemathesis"]
    cases: str
    others: tuple[str, ...] = ()


class Case(NamedTuple):
    """How a case went; `reason` where it did not pass."""

    name: str
    outcome: str
    reason: str


CLIENTS = {
    "openai": Client("openai", "7.57.0", "node", "openai_cases.js", ("zod@4.6.7",)),
    "ai": Client("ai", "7.0.173", "node", "ai_cases.js", ("@ai-sdk/openai-compatible@3.0.92",)),
    "langchain": Client(
        "langchain-openai",
        "1.7.4",
        "pytest",
        "langchain_cases.py",
        ("langchain-tests==1.1.9", "pytest-asyncio==1.5.0"),
    ),
    "litellm": Client("litellm", "1.110.2", "pytest", "litellm_cases.py"),
    "llm": Client("llm", "0.36", "pytest", "llm_cases.py"),
    "schemathesis": Client("schemathesis", "4.32.5", "schemathesis", ""),
}


def main(argv: list[str]) -> None:
    """Run the check."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench clients", description=__doc__)
    parser.add_argument("--work", type=Path, help="folder for environments, kept (default: a temporary one)")
    parser.add_argument("--only", nargs="+", choices=CLIENTS, default=list(CLIENTS), help="some clients")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        work = (args.work or Path(scratch)).resolve()
        for name in args.only:
            _install(CLIENTS[name], work / name)
        with _endpoint(Path(scratch) / "model") as url:
            found = {name: _run(CLIENTS[name], work / name, url) for name in args.only}
    record("Clients that others wrote", _table(found))


def _install(client: Client, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if client.kind == "node":
        wanted = [f"{client.package}@{client.version}", *client.others]
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", *wanted], cwd=folder, check=True)
        return
    if not (folder / "bin" / "pip").exists():
        venv.create(folder, with_pip=True)
    wanted = [f"{client.package}=={client.version}", *client.others]
    wanted += [PYTEST] if client.kind == "pytest" else []
    subprocess.run([str(folder / "bin" / "pip"), "install", "-q", *wanted], check=True)


@contextmanager
def _endpoint(folder: Path) -> Iterator[str]:
    """A process of its own, so that the cases do not share an event loop or a lock with it."""
    command = [sys.executable, "-m", "ochat_ray.bench._client_server", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            # Other lines are of the model's making.
            url = next((line.strip() for line in process.stdout if line.startswith("http://")), None)
            if url is None:
                raise SystemExit("the endpoint did not start")
            yield url
        finally:
            process.terminate()


def _run(client: Client, folder: Path, url: str) -> list[Case]:
    environment = {**os.environ, "CLIENTS_URL": url, "CLIENTS_MODEL": MODEL}
    environment |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # asks nobody for prices
    junit = folder / "junit.xml"
    junit.unlink(missing_ok=True)
    if client.kind == "node":
        cases = Path(client.cases).with_suffix(".mjs")  # a module, whatever npm wrote of the folder
        shutil.copy(CASES / client.cases, folder / cases)
        command = ["node", "--test", "--test-reporter=junit", f"--test-reporter-destination={junit}"]
        command += [str(cases)]
    elif client.kind == "pytest":
        shutil.copy(CASES / client.cases, folder)
        command = ["bin/python", "-m", "pytest", "-q", "-c", os.devnull, f"--junitxml={junit}", "--rootdir=."]
        if client.package.startswith("langchain"):
            loops = ("asyncio_default_fixture_loop_scope", "asyncio_default_test_loop_scope")
            command += [
                "-o",
                "asyncio_mode=auto",
                *(word for name in loops for word in ("-o", f"{name}=session")),
            ]
        command += [client.cases]
    else:
        command = ["bin/schemathesis", "run", f"{url}/openapi.json", "--max-examples", "25", "--seed", "1"]
        # What goes with what is no part of a schema, so that some bodies of its shape are refused.
        command += ["--exclude-checks", "positive_data_acceptance"]
        command += ["--request-timeout", "60", "--report", "junit", "--report-junit-path", str(junit)]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=LIMIT_S, check=False,
    )  # fmt: skip
    (folder / "output.txt").write_text(done.stdout)
    return _of_junit(junit) or [Case("start", "failed", done.stdout[-REASON:])]


def _of_junit(file: Path) -> list[Case]:
    cases = []
    for case in ElementTree.parse(file).iter("testcase") if file.exists() else ():
        name, outcome, reason = case.attrib["name"], "passed", ""
        for tag, said in (("skipped", "skipped"), ("failure", "failed"), ("error", "failed")):
            part = case.find(tag)
            if part is not None:
                outcome, reason = said, part.get("message") or part.text or ""
        if outcome == "failed" and name.startswith(UNDERSTANDING) and "Error code" not in reason:
            outcome = "model"
        cases.append(Case(name, outcome, reason))
    return cases


def _table(found: dict[str, list[Case]]) -> str:
    lines = [
        "| client | version | passed | failed | model-dependent | skipped |",
        "|---|---|---:|---:|---:|---:|",
    ]
    told = []
    for name, cases in found.items():
        client = CLIENTS[name]
        outcomes = [case.outcome for case in cases]
        counts = " | ".join(str(outcomes.count(kind)) for kind in ("passed", "failed", "model", "skipped"))
        lines.append(f"| {client.package} | {client.version} | {counts} |")
        told += [
            f"- {client.package}, {case.name} ({case.outcome}): {_short(case.reason)}"
            for case in cases
            if case.outcome in ("failed", "model")
        ]
    return "\n".join([*lines, "", *told])


def _short(reason: str) -> str:
    words = " ".join(re.sub(r"127\.0\.0\.1:\d+", "HOST", reason).split())
    words = words.encode("ascii", "backslashreplace").decode()
    return words if len(words) <= REASON else f"{words[:REASON]}..."
