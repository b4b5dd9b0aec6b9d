"""Shared fixtures: one private Ray cluster for the whole run, and where the optional data lies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"

os.environ.pop("RAY_ADDRESS", None)  # never somebody's cluster
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A private Ray cluster of four logical CPUs, on free ports and in a folder of its own."""
    from ochat_ray.runtime import cluster

    with cluster(min_cpus=4):
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The optional real data beside the checkout; tests that need it skip without."""
    if not SHARED.is_dir():
        pytest.skip("needs the optional data folder ../shared/data beside the checkout")
    return SHARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu"):
            import torch

            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
