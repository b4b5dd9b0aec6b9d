"""A preparation without Ray: the stages' own functions, one after the other in one process.

`python -m ochat_ray.bench._plain PAGES OUTPUT BASE [overrides]` prints its CPU seconds, for `bench prepare`.
"""

from __future__ import annotations

import pickle
import sys
import time
from dataclasses import replace

import pyarrow as pa

from ochat_ray.config import load_recipe
from ochat_ray.data.examples import chosen
from ochat_ray.data.filters import Questions
from ochat_ray.data.pipeline import POINTS, facts_of
from ochat_ray.data.read.find import find_inputs
from ochat_ray.data.read.units import units, whole
from ochat_ray.data.report.schema import Example
from ochat_ray.data.stages import clean, distinct, finish, report
from ochat_ray.data.stages.job import Job
from ochat_ray.data.targets import load_targets
from ochat_ray.storage import storage

STAGES = ("split", "clean", "distinct", "near", "finish")


def prepare(pages: str, output: str, base: str, overrides: list[str]) -> None:
    """Clean, deduplicate, tokenise and report."""
    recipe = load_recipe("openchat", overrides)
    found = find_inputs([pages])
    targets = load_targets(recipe, [base])
    facts = facts_of(found, None, recipe, targets, Questions.NONE)
    folders = {stage: f".work/{stage}" for stage in STAGES}
    job = Job(found.folder, storage(output), folders, recipe.data, Questions.NONE, targets, examples=0.1)
    marks = []
    for unit in units(map(whole, found.files), recipe.data.task_mb * 10**6):
        for _ in clean.clean_units(pa.table({"unit": [pickle.dumps(unit)]}), job):
            pass
        marks.append((clean.unit_name(unit), job.done("clean", f"{clean.unit_name(unit)}.json")))
    documents = sum(mark["documents"] for _, mark in marks)
    shards = max(1, -(-documents // recipe.data.rows_per_shard))
    job = replace(job, shards=shards, points=min(1.0, POINTS / documents))
    parts = [f"{name}-{part:05}.parquet" for name, mark in marks for part in range(mark["parts"])]
    rows = pa.concat_tables(distinct.read_parts(pa.table({"part": [p]}), job, frozenset()) for p in parts)
    distinct.write_shards(rows, job)
    finish.finish_shards(pa.table({"shard": list(range(shards))}), job)
    examples = chosen([Example(**one) for _, mark in marks for one in mark["examples"]])
    report.write_report(pa.table({}), job, facts, examples)


if __name__ == "__main__":
    pages, output, base, *overrides = sys.argv[1:]
    prepare(pages, output, base, overrides)
    print(f"{time.process_time():.3f}")  # of the whole process, as on Ray of all processes
