"""Ray's provider of fake nodes, each with a folder of its own for what jobs upload."""

from __future__ import annotations

from typing import Any
from unittest import mock

from ray._private import ray_constants
from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider


class Provider(FakeMultiNodeProvider):
    """Nodes of one machine share the session's folder: as one comes up it would unpack the working directory
    of jobs anew, below those that run in it."""

    def _create_node_with_resources_and_labels(self, *args: Any) -> None:
        name = f"{ray_constants.DEFAULT_RUNTIME_ENV_DIR_NAME}_{self._next_node_id}"
        with mock.patch.object(ray_constants, "DEFAULT_RUNTIME_ENV_DIR_NAME", name):
            super()._create_node_with_resources_and_labels(*args)
