"""Shared fixtures: one private Ray cluster for the whole run, and where the optional data lies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"
BUCKET = "chats"

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


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """A bucket of a server of its own, which this process and its children find by their environment."""
    boto3 = pytest.importorskip("boto3", reason="needs moto and flask-cors (dependency group dev)")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        boto3.client("s3", endpoint_url=settings["AWS_ENDPOINT_URL"]).create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}"
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        server.stop()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run tests that take a minute or more each")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="takes a minute or more; run it with --slow"))
        if item.get_closest_marker("gpu"):
            import torch

            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
