"""What the node of the tests' cluster tells Prometheus."""

from __future__ import annotations

import re
import secrets
import time
import urllib.request
from collections.abc import Callable

from ochat_ray import metrics

EXPORT_S = 60.0  # Ray's processes send theirs every ten seconds

Totals = dict[tuple[str, str], float]


def exposed() -> str:
    """The node's endpoint, as Prometheus reads it."""
    import ray

    port = ray.nodes()[0]["MetricsExportPort"]
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return str(response.read(), "utf-8")


def totals(label: str, **where: str) -> Totals:
    """Sums of our metrics by name and one label, of those with the labels `where`."""
    found: Totals = {}
    for line in exposed().splitlines():
        if match := re.fullmatch(r"(ray_ochat_\w+)\{(.*)\} (\S+)", line):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', match[2]))
            if where.items() <= labels.items():
                key = match[1], labels.get(label, "")
                found[key] = found.get(key, 0.0) + float(match[3])
    return found


def settle() -> None:
    """Wait until all that this process has counted is told: other tests count in the same cluster."""
    mark = f"test-{secrets.token_hex(4)}"
    metrics.documents(mark, 1)
    eventually(lambda: totals("stage").get(("ray_ochat_data_documents_total", mark)), 1.0)


def grown(name: str, label: str, before: Totals) -> dict[str, float]:
    """By how much a counter grew since `before`, by a label."""
    now = totals(label)
    grew = {key: now[key] - before.get(key, 0) for key in now if key[0] == name}
    return {key[1]: value for key, value in grew.items() if value}


def eventually(probe: Callable[[], object], wanted: object) -> None:
    """Wait until the endpoint says what it should."""
    deadline = time.monotonic() + EXPORT_S
    while (found := probe()) != wanted and time.monotonic() < deadline:
        time.sleep(0.5)
    assert found == wanted
