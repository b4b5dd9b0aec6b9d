"""Academic benchmarks by lm-eval (Gao et al. 2021; EleutherAI/lm-evaluation-harness), over endpoints."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from ochat_ray.client import api_key
from ochat_ray.config.eval import EndpointConfig
from ochat_ray.errors import ConfigError, DataError, OchatError, one_line
from ochat_ray.eval.names import file_name
from ochat_ray.manifest import digest, write_json

FOLDER = "tasks"


class TaskResult(NamedTuple):
    """One metric of one task, in lm-eval's own unit; the standard error is None where it gives none."""

    model: str
    task: str
    metric: str
    value: float
    standard_error: float | None


def run_tasks(
    output: Path,
    endpoint: EndpointConfig,
    tasks: Sequence[str],
    *,
    folder: Path | None = None,
    limit: int | None = None,
    shots: int | None = None,
) -> list[TaskResult]:
    """Let a model solve tasks, through its chat endpoint, so that the prompt is rendered by the server's own
    template; written to OUTPUT/tasks. Replies that are there already are not asked for again.

    `folder` holds tasks of one's own, YAML as lm-eval reads it; `limit` is the number of documents of each
    task, `shots` that of worked examples before each. Raises ConfigError without lm-eval, for unknown tasks
    and for those that are scored by log-likelihood, OchatError where the endpoint fails.
    """
    lm_eval = _lm_eval()
    manager = _manager(lm_eval, tasks, folder)
    stem = output / FOLDER / file_name(endpoint.name)
    stem.parent.mkdir(parents=True, exist_ok=True)
    key = api_key(endpoint.key_env)
    # What its client never collected is told with all headers, the key among them.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        found = lm_eval.simple_evaluate(
            model="local-chat-completions",
            model_args={
                "model": endpoint.model or endpoint.name,
                "base_url": f"{endpoint.url}/chat/completions",
                "header": {"Authorization": f"Bearer {key}"},
                "num_concurrent": endpoint.concurrency,
                "max_retries": endpoint.retries + 1,
                "timeout": endpoint.timeout_s,
                "max_gen_toks": endpoint.max_tokens,
            },
            tasks=list(tasks),
            task_manager=manager,
            num_fewshot=shots,
            limit=limit,
            apply_chat_template=True,
            use_cache=f"{stem}.{_settings_mark(endpoint)}.cache",
            gen_kwargs=_generation(endpoint) or None,
            log_samples=True,
        )
    except NotImplementedError as error:
        raise ConfigError(
            f"--task {', '.join(tasks)}: scored by log-likelihood, which chat endpoints do not tell "
            f"({one_line(error)}); choose tasks that generate, e.g. gsm8k or mmlu_generative"
        ) from error
    except Exception as error:  # whatever its client raises, of four libraries
        raise OchatError(
            f"{endpoint.url}: lm-eval failed: {one_line(error).replace(key, '***')}; run the same command "
            "again: replies are kept"
        ) from None
    for task, samples in found["samples"].items():
        write_json(Path(f"{stem}.{file_name(task)}.samples.json"), json.loads(_plain(samples)))
    known = {**_known(Path(f"{stem}.json")), **json.loads(_plain(found["results"]))}
    write_json(Path(f"{stem}.json"), {"model": endpoint.name, "results": known})
    return list(_results(endpoint.name, found["results"]))


def read_results(output: Path) -> list[TaskResult]:
    """What all models in an output folder have solved so far."""
    found: list[TaskResult] = []
    for path in sorted((output / FOLDER).glob("*.json")):
        if path.name.endswith(".samples.json"):
            continue
        found += _results(*_read(path))
    return found


def table(rows: Sequence[TaskResult]) -> str:
    """For people."""
    names = [f"{one.model}  {one.task}  {one.metric}" for one in rows]
    width = max(map(len, names), default=0)
    return "\n".join(
        f"{name:{width}}  {one.value:.4f}"
        + (f" +- {one.standard_error:.4f}" if one.standard_error is not None else "")
        for name, one in zip(names, rows, strict=True)
    )


def _generation(endpoint: EndpointConfig) -> dict[str, Any]:
    heat = {} if endpoint.temperature is None else {"temperature": endpoint.temperature}
    return {**heat, **endpoint.extra}


def _settings_mark(endpoint: EndpointConfig) -> str:
    """lm-eval's cache knows a request by its text alone."""
    return digest([endpoint.model, endpoint.max_tokens, _generation(endpoint)])[:12]


def _lm_eval() -> Any:
    if find_spec("lm_eval") is None:
        raise ConfigError("academic tasks need lm-eval: pip install 'ochat-ray[tasks]'")
    import lm_eval
    import lm_eval.tasks

    return lm_eval


def _manager(lm_eval: Any, tasks: Sequence[str], folder: Path | None) -> Any:
    """What knows the tasks. Reading all of lm-eval's own takes seconds, and is left out where it can be."""
    unknown = list(tasks)
    for defaults in (False, True) if folder else (True,):
        manager = lm_eval.tasks.TaskManager(
            include_path=str(folder) if folder else None, include_defaults=defaults
        )
        unknown = [name for name in tasks if name not in manager.all_tasks]
        if not unknown:
            return manager
    raise ConfigError(
        f"--task {unknown[0]}: no such task; `lm-eval ls tasks` lists lm-eval's, --tasks-folder adds your own"
    )


def _results(model: str, results: Mapping[str, Mapping[str, Any]]) -> Iterator[TaskResult]:
    """lm-eval's keys are `metric,filter`, and `metric_stderr,filter` beside them."""
    for task, metrics in results.items():
        for key, value in metrics.items():
            metric, comma, chosen = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = metrics.get(f"{metric}_stderr,{chosen}")
            name = metric if chosen == "none" else f"{metric} ({chosen})"
            yield TaskResult(
                model, task, name, float(value), float(error) if isinstance(error, int | float) else None
            )


def _known(path: Path) -> dict[str, Any]:
    return _read(path)[1] if path.exists() else {}


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        return str(row["model"]), dict(row["results"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path}: not results of tasks ({error!r}); delete it and run them again") from None


def _plain(value: Any) -> str:
    """As JSON; what JSON cannot hold, as text."""
    return json.dumps(value, default=str, ensure_ascii=True)
