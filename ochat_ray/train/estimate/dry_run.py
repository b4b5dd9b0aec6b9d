"""`train --dry-run`: the same checks and the same plan as `train`, but no Ray, no weights and no output."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ochat_ray.config import Recipe
from ochat_ray.train.estimate.estimate import Estimate, estimate
from ochat_ray.train.estimate.model import Model
from ochat_ray.train.estimate.work import Work
from ochat_ray.train.folders import Folders
from ochat_ray.train.gpus import Gpu
from ochat_ray.train.inputs import PLAN, input_files, make_inputs
from ochat_ray.train.packing import Plan
from ochat_ray.train.prepared import Prepared
from ochat_ray.train.tokens import Tokens


def dry_run(data: str | Path, base: Path, recipe: Recipe, gpus: Sequence[Gpu]) -> Estimate:
    """What training `base` on the prepared folder `data` (path or URI) takes, on each of these kinds of GPU
    or, without any, on CPUs. Raises what `train` raises for inputs that do not fit together.
    """
    from transformers.utils.logging import set_verbosity_error

    set_verbosity_error()
    base, config = base.resolve(), recipe.train
    prepared = Prepared.open(data, base, recipe.model_type)
    model = Model.of(base, config, gpu=bool(gpus))
    with tempfile.TemporaryDirectory(prefix="ochat-dry-run-") as name:
        folders = Folders(name)
        make_inputs(prepared, base, folders, config)
        folder = folders.tokens / "train"
        tokens = Tokens.load(input_files(folder))
        work = Work.of(
            Plan.load(folder / PLAN),
            tokens.lengths_N,
            int(tokens.targets_N.sum()),
            model.size,
            max_tokens=config.max_tokens,
            workers=config.num_workers,
        )
    return estimate(config, model, work, gpus)
