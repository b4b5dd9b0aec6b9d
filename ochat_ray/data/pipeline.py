"""From a folder of saved pages to a prepared folder, on Ray Data. The only module here that knows Ray.

Two stages: clean chunks of pages into parts, then bring the copies of each text together (a shuffle by
partition) and finish the partitions. Each part and each partition is a file that a later run finds and
does not do again; the driver sees nothing but counts.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray.data

from ochat_ray.config import Recipe
from ochat_ray.data.partition import add_counts
from ochat_ray.data.records import PART
from ochat_ray.data.sources import PageFile, chunks, find_pages, pages_folder
from ochat_ray.data.stages import (
    Job,
    clean_chunk,
    counts_file,
    finish_block,
    finish_partition,
    read_part,
)
from ochat_ray.data.workspace import (
    WORK,
    filling,
    finished_partitions,
    open_output,
    output_files,
    part_name,
    say,
)
from ochat_ray.manifest import digest, write_manifest
from ochat_ray.model_types import load_model_type
from ochat_ray.progress import Progress
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer


def prepare(source: Path, output: Path, recipe: Recipe, base: Path) -> dict[str, Any]:
    """Clean, judge, deduplicate, split and tokenise the pages in `source`; returns the manifest.

    `base` is a Hugging Face folder whose tokenizer has the model type's special tokens. A run that was
    interrupted is taken up where it stopped; a finished one is not repeated. The files are the same,
    byte for byte, for any number of workers. Needs an initialised Ray.

    Raises DataError for unusable input or output folders, CheckpointError for an unusable base.
    """
    source, output, base = (path.absolute() for path in (source, output, base))
    model_type = load_model_type(recipe.model_type)
    template = ChatTemplate(model_type, ChatTokenizer.load(base))
    folder = pages_folder(source)
    pages = find_pages(folder, leave_out=output)
    max_tokens = recipe.data.max_tokens or model_type.context
    facts = {
        "kind": "prepared",
        "source": str(source),
        "inputs": digest(pages),
        "base": str(base),
        "model_type": model_type.model_dump(mode="json"),
        "max_tokens": max_tokens,
        "template_hash": template.hash,
        "tokenizer_hash": template.tokenizer.hash,
        "recipe": recipe.model_dump(mode="json", include={"model_type", "data"}),
    }
    finished = open_output(output, facts)
    if finished is not None:
        say(f"{output}: already prepared from these pages with these settings; nothing to do")
        return finished
    with filling(output, facts) as plan, _quiet_ray_data():
        job = Job(
            folder,
            output,
            output / WORK,
            plan,
            base,
            model_type,
            template.tokenizer.hash,
            recipe.data,
            max_tokens,
        )
        counts = _finish(_clean(pages, job), len(pages), job)
        assert counts["pages"] == len(pages), counts
        manifest = write_manifest(output, output_files(output), {**facts, "counts": counts})
        shutil.rmtree(job.work)
    return manifest


def _clean(pages: list[PageFile], job: Job) -> list[str]:
    """Clean all chunks of pages whose part is not there yet. Returns the names of all parts."""
    named = {part_name(chunk, job.config): chunk for chunk in chunks(pages, job.config.pages_per_task)}
    missing = {name: chunk for name, chunk in named.items() if not (job.work / name).exists()}
    done = len(pages) - sum(map(len, missing.values()))
    with Progress("clean", total=len(pages), unit="pages", start=done) as progress:
        if missing:
            rows = [
                pa.table({"part": [name], "pages": [[os.fsencode(p.path) for p in chunk]]})
                for name, chunk in missing.items()
            ]
            _drain(_map(ray.data.from_arrow(rows), clean_chunk, job=job), progress)
    return list(named)


def _finish(parts: list[str], pages: int, job: Job) -> dict[str, Any]:
    """Finish all partitions that are not finished yet. Returns the counts of the whole."""
    partitions = job.config.partitions
    finished = finished_partitions(job.work, job.plan, partitions)
    done = sum(_counts(job, number)["pages"] for number in finished)
    with Progress("deduplicate and tokenise", total=pages, unit="pages", start=done) as progress:
        if done < pages:
            names = [pa.table({"part": [name]}) for name in parts]
            rows = _map(ray.data.from_arrow(names), read_part, job=job, finished=finished)
            # All rows of a partition come into one block, which may hold several partitions.
            blocks = rows.repartition(partitions, keys=["partition"], sort=True)
            _drain(_map(blocks, finish_block, job=job), progress)
    for number in set(range(partitions)) - finished_partitions(job.work, job.plan, partitions):
        finish_partition(PART.empty_table(), number, job)  # no page fell into it
    return add_counts([_counts(job, number) for number in range(partitions)])


def _counts(job: Job, number: int) -> dict[str, Any]:
    counts: dict[str, Any] = json.loads(counts_file(job.work, job.plan, number).read_text(encoding="utf-8"))
    return counts


def _map(dataset: Any, stage: Callable[..., pa.Table], **arguments: Any) -> Any:
    """Apply a stage to whole blocks."""
    return dataset.map_batches(stage, batch_format="pyarrow", batch_size=None, fn_kwargs=arguments)


def _drain(counted: Any, progress: Progress) -> None:
    """Run a dataset of counts to its end, showing them as they arrive."""
    for counts in counted.iter_batches(batch_size=None, batch_format="pyarrow"):
        progress.update(sum(counts["pages"].to_pylist()))


@contextmanager
def _quiet_ray_data() -> Iterator[None]:
    """Ray Data without progress bars and remarks of its own, for the length of the block."""
    context = ray.data.DataContext.get_current()
    logger = logging.getLogger("ray.data")
    quiet = {"enable_progress_bars": False, "print_on_execution_start": False}
    before = {name: getattr(context, name) for name in quiet}
    level = logger.level
    try:
        for name, value in quiet.items():
            setattr(context, name, value)
        logger.setLevel(logging.ERROR)
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
        logger.setLevel(level)
