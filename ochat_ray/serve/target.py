"""What Ray Serve knows but tells only inside: whether it runs, and the version it is to keep up."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import ray
from ray import serve
from ray.serve._private.build_app import BuiltApplication
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.context import _get_global_client, _set_global_client

from ochat_ray.progress import say

DROP_TIMEOUT_S = 10.0
KILL_TIMEOUT_S = 10.0


def running_serve() -> Any:
    """The client of the cluster's Serve, or None where it does not run. Starts nothing."""
    return _get_global_client(raise_if_no_controller_running=False)


def former_target(name: str) -> BuiltApplication | None:
    """The version of an application that Serve keeps up now, or None where there is no such application."""
    if name not in serve.status().applications:
        return None
    client = running_serve()
    details = client.get_serve_details()["applications"][name]
    deployments = []
    for deployment in details["deployments"]:
        info, route = client.get_deployment_info(deployment, name)
        if route is not None:
            ingress = deployment
        # Of the same version, so that replicas that still run are kept.
        deployments.append(
            serve.Deployment(
                deployment, info.deployment_config, info.replica_config, version=info.version, _internal=True
            )
        )
    return BuiltApplication(
        name=name,
        route_prefix=details["route_prefix"],
        logging_config=None,  # each deployment has its own
        ingress_deployment_name=ingress,
        deployments=deployments,
        deployment_handles={},
        external_scaler_enabled=False,
    )


def restore(former: BuiltApplication) -> None:
    """Make Serve keep an earlier version up again; does not wait for it."""
    running_serve().deploy_applications(
        [former], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False
    )


def drop_unplaced(name: str) -> None:
    """Kill the replicas of an application that still wait for a place, after it was deleted or restored:
    Serve would give them as long to finish requests as those that have any."""
    deadline = time.monotonic() + DROP_TIMEOUT_S
    while unplaced := _unplaced(name):
        for actor in unplaced:
            with contextlib.suppress(ValueError):  # it is gone
                ray.kill(ray.get_actor(actor, namespace=SERVE_NAMESPACE))
        if time.monotonic() > deadline:
            return
        time.sleep(0.1)


def _unplaced(name: str) -> list[str]:
    application = running_serve().get_serve_details()["applications"].get(name)
    deployments = application["deployments"].values() if application else []
    replicas = [replica for deployment in deployments for replica in deployment["replicas"]]
    return [replica["actor_name"] for replica in replicas if not replica.get("node_id")]


def end_serve(timeout_s: float) -> None:
    """End Serve; requests that still run have `timeout_s` seconds to finish, and are cut off then.

    `serve.shutdown` waits in a call that fails in the end by design, which Ray then reports as an error.
    """
    client = running_serve()
    client.shutdown_cached_handles()
    with contextlib.suppress(ray.exceptions.ActorDiedError):  # it may be gone before it has answered
        ray.get(client._controller.graceful_shutdown.remote(wait=False))
    _set_global_client(None)
    if not _gone(timeout_s):
        # Serve itself would wait as long for a replica that never got a place as for one that answers. The
        # controller ends by itself then; one that is killed would leave word to the next one to end too.
        for actor in ray.util.list_named_actors(all_namespaces=True):
            if actor["namespace"] == SERVE_NAMESPACE and actor["name"] != SERVE_CONTROLLER_NAME:
                with contextlib.suppress(ValueError):  # it is gone
                    ray.kill(ray.get_actor(actor["name"], namespace=SERVE_NAMESPACE))
        if not _gone(KILL_TIMEOUT_S):
            say("Ray Serve does not end; `serve shutdown` tries again")


def _gone(timeout_s: float) -> bool:
    """Whether the controller, which goes last when Serve ends, is gone within `timeout_s` seconds.

    Asked as Serve asks: this process may know a name for a while after the cluster has forgotten it.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
        except ValueError:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
