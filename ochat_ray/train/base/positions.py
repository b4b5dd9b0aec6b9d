"""More positions for a model: the limit in its config, and how its rotary embedding reaches it."""

from __future__ import annotations

from typing import Any

from ochat_ray.errors import CheckpointError
from ochat_ray.positions import changing_rope, position_limit


def extend_positions(config: Any, context: int, method: str, name: str) -> None:
    """Raise the limit of a transformers config to `context` positions, by `method` (see BaseConfig).

    A config that allows as many keeps all of its settings. Raises CheckpointError, with `name` for the
    model: for rotary embeddings that change with the length of what runs, for learned positions, and
    where positions that are scaled already should be scaled again.
    """
    changing = changing_rope(config.to_dict())
    if changing is not None:
        raise CheckpointError(
            f"{name}/config.json: rope_type {changing!r} changes with the longest conversation of a pack, so "
            "it cannot be trained in packs; take the model that this was made from"
        )
    limit = position_limit(config.to_dict())
    if limit is None or limit >= context:
        return
    rope = getattr(config, "rope_parameters", None)
    if not rope:
        raise CheckpointError(
            f"{name}/config.json: {limit} learned positions cannot be extended to "
            f"the {context} of the model type; take a model with rotary positions"
        )
    config.max_position_embeddings = context
    if method == "extrapolate":
        return
    if rope.get("rope_type") != "default":
        found = repr(rope["rope_type"]) if "rope_type" in rope else "one for each kind of layer"
        raise CheckpointError(
            f"{name}/config.json: rope_type is {found}, so base.positions={method} cannot be "
            "applied; set base.positions=extrapolate, or take a model with plain rotary positions"
        )
    scaled = {**rope, "rope_type": method, "factor": context / limit}
    if method == "yarn":
        scaled["original_max_position_embeddings"] = limit
    config.rope_parameters = scaled
