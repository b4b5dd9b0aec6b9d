"""The limits of a served folder, known without loading its weights."""

from __future__ import annotations

import json

from ochat_ray.config import ServeConfig
from ochat_ray.errors import CheckpointError
from ochat_ray.exported import Exported
from ochat_ray.positions import position_limit
from ochat_ray.serve.engine.limits import Limits


def limits_of(exported: Exported, config: ServeConfig) -> Limits:
    """The limits of a folder under a config. Raises CheckpointError."""
    path = exported.folder / "config.json"
    try:
        shape = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); export the model again") from error
    positions = position_limit(shape)
    context = exported.model_type.context
    engine = config.engine
    return Limits(
        context=min(context, positions or context),
        cache_tokens=engine.cache_tokens,
        max_running=engine.max_running,
        prefill_chunk=engine.prefill_chunk,
        max_queued=config.max_queued,
    )
