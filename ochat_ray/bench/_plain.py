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
from ochat_ray.data.filters import Questions
from ochat_ray.data.pipeline import POINTS, cleaned, facts_of
from ochat_ray.data.read.find import find_inputs
from ochat_ray.data.read.units import units, whole
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
    job = Job(found.folder, storage(output), folders, recipe.data, Questions.NONE, targets)
    names = []
    for unit in units(map(whole, found.files), recipe.data.task_mb * 10**6):
        for _ in clean.clean_units(pa.table({"unit": [pickle.dumps(unit)]}), job):
            pass
        names.append(clean.unit_name(unit))
    done = cleaned(names, job)
    shards = max(1, -(-done["documents"] // recipe.data.rows_per_shard))
    job = replace(job, shards=shards, points=min(1.0, POINTS / done["documents"]))
    parts = [distinct.read_parts(pa.table({"part": [part]}), job, frozenset()) for part in done["parts"]]
    rows = pa.concat_tables(parts)
    distinct.write_shards(rows, job)
    finish.finish_shards(pa.table({"shard": list(range(shards))}), job)
    report.write_report(pa.table({}), job, facts, done["examples"])


if __name__ == "__main__":
    pages, output, base, *overrides = sys.argv[1:]
    prepare(pages, output, base, overrides)
    print(f"{time.process_time():.3f}")  # of the whole process, as on Ray of all processes
