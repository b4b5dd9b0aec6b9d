"""The Serve application, and putting it up on a cluster."""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation, RequestRouterConfig
from ray.serve.schema import ApplicationStatus, LoggingConfig

from ochat_ray.config import ServeConfig
from ochat_ray.errors import CheckpointError, ConfigError
from ochat_ray.exported import load_exported
from ochat_ray.loopback import is_loopback
from ochat_ray.progress import say
from ochat_ray.runtime import fixed, require_free_port
from ochat_ray.serve.access.keys import read_keys
from ochat_ray.serve.ingress import Ingress, OneHop
from ochat_ray.serve.limits import limits_of
from ochat_ray.serve.placement import actor_options, fitting, light_options, need
from ochat_ray.serve.replica import EngineReplica
from ochat_ray.serve.routing import PrefixRouter
from ochat_ray.serve.target import drop_unplaced, end_serve, former_target, restore, running_serve
from ochat_ray.serve.tracing import require_exporter
from ochat_ray.serve.web.deployment import chat_app

APP_NAME = "ochat"
PAGE_NAME = "ochat-chat"
ENGINE = "engine"
INGRESS = "ingress"
TELL_EVERY_S = 30.0  # while replicas wait for room in the cluster
HEALTH_TIMEOUT_S = 60.0  # for the endpoint to answer once all replicas run
# One line a request is too much for a console; warnings and errors still come.
QUIET = LoggingConfig(log_level="WARNING", enable_access_log=False)
SHUTDOWN_TIMEOUT_S = 15.0  # for requests that are still running when Serve ends
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # for this very machine
SPARE_CALLS = 16  # health and statistics, beside the requests


def build_app(
    folders: Mapping[str | None, str], config: ServeConfig, *, gpus: float, surge: bool
) -> serve.Application:
    """Ingress and engines over exported folders that every node can read, by the names of their models.

    The ingress mostly waits and asks for no CPU of its own, so that an engine fits wherever a whole
    CPU is free. With `surge` an older version runs until the new one does.
    """
    calls = {name: _calls(folder, config) for name, folder in folders.items()}
    most = config.autoscaling.max_replicas or config.replicas
    options: dict[str, Any] = {
        "max_ongoing_requests": sum(calls.values()) * most // config.ingress_replicas + SPARE_CALLS,
        "ray_actor_options": light_options(config.pool),
        "max_surge_percent": 100,
        "graceful_shutdown_timeout_s": config.request_timeout_s,
        "max_constructor_retry_count": 1,
        "logging_config": QUIET,
    }
    if config.one_hop:
        ((name, folder),) = folders.items()
        options["ray_actor_options"] = actor_options(config, gpus)
        options["max_surge_percent"] = 100 if surge else 0
        one = serve.deployment(OneHop, name=INGRESS, health_check_period_s=2, **options)
        return one.bind(name, folder, config, gpu=gpus > 0)
    engines = {
        name: _engine(deployment, folder, config, calls[name], gpus=gpus, surge=surge)
        for deployment, (name, folder) in zip(_deployments(folders), folders.items(), strict=True)
    }
    ingress = serve.deployment(Ingress, name=INGRESS, num_replicas=config.ingress_replicas, **options)
    return ingress.bind(dict(folders), config, engines)


def _deployments(names: Iterable[str | None]) -> Iterator[str]:
    """Names of the engines' deployments. The first keeps its own when its model gets another name: only so
    does the old version serve until the new one does."""
    for number, name in enumerate(names):
        yield f"{ENGINE}-{name}" if number else ENGINE


def _calls(folder: str, config: ServeConfig) -> int:
    limits = limits_of(load_exported(folder), config)
    return limits.max_running + limits.max_queued + SPARE_CALLS


def _engine(
    name: str, folder: str, config: ServeConfig, calls: int, *, gpus: float, surge: bool
) -> serve.Application:
    scaling = config.autoscaling
    number: dict[str, Any] = {"num_replicas": config.replicas}
    if scaling.max_replicas is not None:
        number = {
            "autoscaling_config": {
                "min_replicas": scaling.min_replicas,
                "max_replicas": scaling.max_replicas,
                "initial_replicas": max(scaling.min_replicas, min(config.replicas, scaling.max_replicas)),
                "target_ongoing_requests": scaling.target_requests,
                "upscale_delay_s": scaling.upscale_delay_s,
                "downscale_delay_s": scaling.downscale_delay_s,
                # Often enough for the delays that were asked for.
                "metrics_interval_s": min(10.0, max(0.5, scaling.upscale_delay_s / 2)),
                "look_back_period_s": min(30.0, max(2.0, scaling.upscale_delay_s)),
            }
        }
    engine = serve.deployment(
        EngineReplica,
        name=name,
        max_ongoing_requests=calls,
        max_queued_requests=config.max_queued,
        ray_actor_options=actor_options(config, gpus),
        max_surge_percent=100 if surge else 0,
        graceful_shutdown_timeout_s=config.request_timeout_s,  # an update cuts nobody off
        max_constructor_retry_count=1,  # a folder that fails to load once fails again
        health_check_period_s=2,
        request_router_config=RequestRouterConfig(request_router_class=PrefixRouter),
        logging_config=QUIET,
        **number,
    )
    return engine.bind(folder, config, gpu=gpus > 0)


def deploy(model: Path, config: ServeConfig, also: Mapping[str, Path] | None = None) -> str:
    """Put the models of exported folders up on the joined cluster, and wait until they answer.

    `also`: further ones by the names that clients ask for. Returns the base URL for OpenAI clients. Serve is
    started where it does not run yet; a running one keeps its other applications. A version that is up
    already serves on until the new one does where the cluster has room for both, and again if the new one
    fails. Raises CheckpointError for a folder that cannot be served, ConfigError for a busy port, for a keys
    file that cannot be used, for one that asks for no keys in place of one that does, for tracing that is not
    installed and for a cluster that is too small.
    """
    require_exporter()
    folders = folders_of(model, config, also or {})
    config = config.replace(access=config.access.resolved())
    if config.access.keys_file is not None:
        read_keys(Path(config.access.keys_file))
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    gpus = gpus_of(config)
    wanted = need(config, gpus)
    number = len(folders) * config.replicas
    if fixed() and fitting(_nodes(), wanted) < number:
        raise ConfigError(
            f"no place for {_replicas(number, wanted)}: the cluster has {_have()} in all; "
            "lower serve.replicas, serve.engine.threads or serve.gpus_per_replica, or leave out serve.pool"
        )
    surge = fitting([ray.available_resources()], wanted) >= number
    app = build_app(folders, config, gpus=gpus, surge=surge)
    targets = [serve.RunTarget(app, name=APP_NAME, route_prefix="/", logging_config=QUIET)]
    host = "127.0.0.1" if config.host == "0.0.0.0" else config.host
    base = f"http://{host}:{config.port}"
    if config.chat_page.enabled:
        page = chat_app(config.chat_page.resolved(), f"{base}/v1", config.pool, logging_config=QUIET)
        targets.append(serve.RunTarget(page, name=PAGE_NAME, route_prefix="/chat", logging_config=QUIET))
    started = _start(config)
    former = None if started else former_target(APP_NAME)
    if config.access.keys_file is None:
        if former is not None and _asks_for_keys(base):
            raise ConfigError(
                f"the endpoint that runs at {base} asks for keys, and this one would not; give it "
                f"serve.access.keys_file, or take that one down first with `serve delete {APP_NAME}`"
            )
        if not is_loopback(config.host):
            say(f"serve.host={config.host} without serve.access.keys_file: who reaches the port is answered")
    try:
        serve.run_many(
            targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False
        )
        _wait_for_replicas(list(folders.values()), _replicas(number, wanted))
        _wait_for_health(base)
    except BaseException:
        if former is None:
            for target in targets:
                serve.delete(target.name, _blocking=False)
        else:
            restore(former)
        drop_unplaced(APP_NAME)
        if started:
            shutdown()
        raise
    return f"{base}/v1"


def folders_of(
    model: str | Path, config: ServeConfig, also: Mapping[str, str | Path]
) -> dict[str | None, str]:
    """Folders by the names of their models; None is the model type's own. Raises ConfigError for names that
    do not go together, CheckpointError for a folder that cannot be served."""
    if config.one_hop and also:
        raise ConfigError("serve.one_hop is for one model; leave it out to serve several")
    folders = {config.model_name: str(Path(model).resolve())}
    names = {config.model_name or load_exported(model).model_type.name, *config.aliases}
    for name, folder in also.items():
        if name in names:
            raise ConfigError(f"two models have the name {name!r}; give each a name of its own")
        folders[name] = str(Path(folder).resolve())
    targets = {*names, *also} - set(config.aliases)
    unknown = next((name for name in config.aliases.values() if name not in targets), None)
    if unknown is not None:
        raise ConfigError(f"serve.aliases: no model is called {unknown!r}; there are {', '.join(targets)}")
    return folders


def shutdown() -> None:
    """Take the application down, and Serve with it if `deploy` started that."""
    global _started
    if _started:
        _started = False
        end_serve(SHUTDOWN_TIMEOUT_S)
    elif running_serve() is not None:
        for name in (PAGE_NAME, APP_NAME):
            serve.delete(name)


_started = False  # whether the cluster's Serve is ours to end


def _start(config: ServeConfig) -> bool:
    """Start Serve, or make sure that the running one listens where the config says. Whether it started."""
    global _started
    client = running_serve()
    if client is None:
        require_free_port(config.host, config.port, option="serve.port=N")
        serve.start(
            proxy_location=ProxyLocation.EveryNode,
            http_options=HTTPOptions(host=config.host, port=config.port),
            logging_config=QUIET,
        )
        _started = True
        return True
    options = client.http_config
    if (options.host, options.port) != (config.host, config.port):
        raise ConfigError(
            f"Ray Serve runs on this cluster already, at {options.host}:{options.port}, and cannot move; use "
            f"serve.host={options.host} serve.port={options.port}, or end it with `serve shutdown`"
        )
    others = [n for n in serve.status().applications if n not in (APP_NAME, PAGE_NAME)]
    others = [n for n in others if _route(client, n) in ("/", "/chat")]
    if others:
        raise ConfigError(
            f"the application {others[0]!r} has a route of ours on this cluster's Ray Serve; "
            f"remove it with `serve delete {others[0]}`, or use another cluster"
        )
    return False


def _route(client: Any, name: str) -> str | None:
    route: str | None = client.get_serve_details()["applications"][name]["route_prefix"]
    return route


def gpus_of(config: ServeConfig) -> float:
    """GPUs of an engine replica on the joined cluster."""
    if config.gpus_per_replica == "auto":
        return 1.0 if ray.cluster_resources().get("GPU") else 0.0
    return config.gpus_per_replica


def _wait_for_replicas(folders: list[str], replicas: str) -> None:
    """Finding a place and loading may take as long as they take; failing to load ends the wait."""
    told = time.monotonic()
    while True:
        app = serve.status().applications[APP_NAME]
        if app.status == ApplicationStatus.RUNNING:
            return
        if app.status in (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY):
            messages = [app.message, *(d.message for d in app.deployments.values() if d.message)]
            reason = _reason(messages[-1])
            raise CheckpointError(
                reason
                if any(folder in reason for folder in folders)
                else f"{', '.join(folders)}: the engine did not start: {reason}"
            )
        if time.monotonic() - told > TELL_EVERY_S:
            told = time.monotonic()
            say(_waiting(replicas))
        time.sleep(0.2)


def _waiting(replicas: str) -> str:
    deployments = running_serve().get_serve_details()["applications"][APP_NAME]["deployments"].values()
    if all(replica.get("node_id") for one in deployments for replica in one["replicas"]):
        return "waiting for the model to load"
    return f"waiting for a place for {replicas}; the cluster has {_have()} so far; Ctrl-C gives up"


def _nodes() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _replicas(number: int, wanted: dict[str, float]) -> str:
    return f"{number} engine replica(s) of {wanted['CPU']:g} CPU(s) and {wanted['GPU']:g} GPU(s)"


def _have() -> str:
    have = ray.cluster_resources()
    return f"{have.get('CPU', 0):g} CPU(s) and {have.get('GPU', 0):g} GPU(s)"


def _reason(message: str) -> str:
    """The exception at the end of a replica's traceback, without its class path."""
    line = next(line for line in reversed(message.splitlines()) if line.strip())
    name, _, text = line.strip().partition(": ")
    return text if name.endswith("Error") and text else line.strip()


def _asks_for_keys(base: str) -> bool:
    """Whether an endpoint refuses those who have none."""
    try:
        DIRECT.open(f"{base}/v1/models", timeout=10).close()
    except urllib.error.HTTPError as refused:
        return refused.code == HTTPStatus.UNAUTHORIZED
    except OSError:  # it does not answer, whatever it asks for
        return False
    return False


def _wait_for_health(base: str) -> None:
    deadline = time.monotonic() + HEALTH_TIMEOUT_S
    while True:
        try:
            with DIRECT.open(f"{base}/health", timeout=10) as response:
                json.load(response)
                return
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{base}/health: no answer in {HEALTH_TIMEOUT_S:g} s ({error})") from error
        time.sleep(0.1)
