"""A cluster whose nodes come and go on one machine: Ray's autoscaler over its provider of fake nodes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ochat_ray.bench._alone import end_others

HEAD = "FAKE_HEAD_NODE_ID"
IDLE_MINUTES = 0.1
UP_S = 120.0


class FakeCluster:
    """A head without CPUs and up to `types` of nodes, from none: {name: (most, resources)}.

    `version`: of the autoscaler, 1 or 2. Runs on Ray's default ports: needs a network of its own.
    """

    def __init__(
        self, folder: Path, types: Mapping[str, tuple[int, Mapping[str, float]]], *, version: int
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "cluster.yaml"
        file.write_text(yaml.safe_dump(_config(types, version)))
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.env |= {
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_FAKE_CLUSTER": "1",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_API_SERVER_ADDRESS": "http://127.0.0.1:8265",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
            "HOME": str(folder),
            # The `python` of jobs is the first on the head's PATH.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        if version == 2:
            self.env |= {
                "RAY_enable_autoscaler_v2": "1",
                "RAY_CLOUD_INSTANCE_ID": HEAD,
                "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
            }
        self.log = folder / "head.log"
        command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus=0"]
        self._temp = tempfile.mkdtemp(prefix="ochat-fake-", dir="/tmp")  # sockets' paths must be short
        command += ["--port=6379", f"--autoscaling-config={file}", f"--temp-dir={self._temp}"]
        command += ["--include-dashboard=true", "--dashboard-host=127.0.0.1"]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                command, env=self.env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait(self) -> None:
        """Until jobs can be submitted. Raises RuntimeError where the head does not come up."""
        deadline = time.monotonic() + UP_S
        command = [str(Path(sys.executable).parent / "ray"), "job", "list"]
        while not _well(command, self.env):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the head did not come up:\n{self.log.read_text()}")

    def stop(self) -> None:
        """End the head, and the nodes, which outlive it."""
        self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        end_others()
        self._process.wait()
        shutil.rmtree(self._temp, ignore_errors=True)


def _well(command: list[str], env: Mapping[str, str]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=30)
        return done.returncode == 0
    return False


def _config(types: Mapping[str, tuple[int, Mapping[str, float]]], version: int) -> dict[str, Any]:
    provider: dict[str, Any] = {
        "type": "external",
        "module": "ochat_ray.bench._fake_nodes.Provider",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    }
    if version == 2:
        provider |= {"launch_multiple": True, "head_node_id": HEAD}
    nodes: dict[str, Any] = {
        "ray.head.default": {"resources": {"CPU": 0}, "min_workers": 0, "max_workers": 0, "node_config": {}}
    }
    for name, (most, resources) in types.items():
        nodes[name] = {
            "resources": dict(resources),
            "min_workers": 0,
            "max_workers": most,
            "node_config": {},
        }
    return {
        "cluster_name": "fake",
        "max_workers": sum(most for most, _ in types.values()),
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": IDLE_MINUTES,
        "provider": provider,
        "auth": {},
        "docker": {},
        "available_node_types": nodes,
        "head_node_type": "ray.head.default",
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        "initialization_commands": [],
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
    }
