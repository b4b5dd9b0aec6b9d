"""What the workers need of the cluster, and what is told while it has no room for them."""

from __future__ import annotations

from dataclasses import dataclass

from ochat_ray import runtime
from ochat_ray.config import TrainConfig
from ochat_ray.errors import ConfigError
from ochat_ray.progress import say


@dataclass(frozen=True)
class Need:
    """`workers` times the resources of `each`, by Ray's names; the run goes on with `least` workers."""

    workers: int
    each: dict[str, float]
    least: int

    @property
    def gpu(self) -> bool:
        """Whether workers run on GPUs."""
        return "GPU" in self.each

    def __str__(self) -> str:
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        if self.least < self.workers:
            workers = f"{self.least} to {workers}"
        return f"{workers} of {_resources(self.each)}"

    def among(self, resources: dict[str, float]) -> str:
        """How much there is of what a worker needs."""
        return _resources({name: resources.get(name, 0) for name in self.each})


def find_need(config: TrainConfig) -> Need:
    """Decide between GPUs and CPUs. Needs Ray.

    Raises ConfigError where the cluster is too small and cannot grow.
    """
    import ray

    have = ray.cluster_resources()
    gpus = have.get("GPU", 0)
    least = config.min_workers or config.num_workers
    use_gpu = gpus >= least if config.use_gpu == "auto" else config.use_gpu
    if gpus and config.use_gpu == "auto" and not use_gpu:
        say(
            f"train: on CPUs, because the cluster has {gpus:g} GPU for {config.num_workers} workers; "
            f"train.num_workers={gpus:g} takes GPUs"
        )
    need = need_of(config, gpu=use_gpu)
    missing = [name for name, amount in need.each.items() if have.get(name, 0) < amount * need.least]
    if missing and runtime.fixed():
        remedies = ["lower train.num_workers"]
        if "CPU" in missing and config.threads > 1:
            remedies.append("lower train.threads")
        if "GPU" in missing:
            remedies.append("set train.use_gpu=false")
        if config.pool in missing:
            remedies.append("leave out train.pool")
        raise ConfigError(
            f"training needs {need}, but this cluster has {need.among(have)} in all and gets no more; "
            f"{' or '.join(remedies)}, or give the --address of a larger cluster"
        )
    return need


def need_of(config: TrainConfig, *, gpu: bool) -> Need:
    """What the workers of a recipe ask for, on GPUs or on CPUs."""
    each = {"CPU": float(config.threads), **({"GPU": 1.0} if gpu else {}), **runtime.in_pool(config.pool)}
    return Need(config.num_workers, each, config.min_workers or config.num_workers)


def waiting(need: Need) -> str | None:
    """A line for the user if workers of this kind wait for room; else None."""
    import ray
    from ray.util import placement_group_table

    groups = placement_group_table().values()
    if not any(
        group["state"] in ("PENDING", "RESCHEDULING")
        and all(bundle == need.each for bundle in group["bundles"].values())
        for group in groups
    ):
        return None
    free, have = ray.available_resources(), ray.cluster_resources()
    return f"waiting for {need}; the cluster has {need.among(free)} free of {need.among(have)}"


def _resources(amounts: dict[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in amounts.items())
