"""Positions of base models: what the config says is what transformers computes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ochat_ray.config import Recipe, load_recipe
from ochat_ray.errors import CheckpointError, ConfigError
from ochat_ray.train.base import extend
from tests.train.base.models import foreign, llama, load, starcoder

CONTEXT, OLD = 2048, 512
FACTOR = CONTEXT / OLD
IDS = torch.arange(3, 67).unsqueeze(0)
POSITIONS = torch.arange(64).unsqueeze(0)


def extended(folder: Path, recipe: Recipe, method: str, **changes: Any) -> tuple[Any, Any]:
    """A model before and after, in float32."""
    source = foreign(folder / "source", llama(hidden_size=64, **changes), dtype=torch.float32)
    recipe = recipe.replace(base=recipe.base.replace(positions=method))
    extend(str(source), folder / "out", recipe)
    return load(source), load(folder / "out")


def logits(model: Any, positions: torch.Tensor) -> torch.Tensor:
    # Without a mask, transformers takes positions that are not consecutive for several sequences.
    mask = torch.ones_like(IDS)
    found: torch.Tensor = model(IDS, position_ids=positions, attention_mask=mask, use_cache=False).logits
    return found[..., :260].detach()


def test_extrapolation_changes_nothing_but_the_limit(tmp_path: Path, recipe: Recipe) -> None:
    before, after = extended(tmp_path, recipe, "extrapolate")
    assert after.config.max_position_embeddings == CONTEXT
    assert after.config.rope_parameters == before.config.rope_parameters
    for start in (0, 1000):
        assert torch.equal(logits(before, POSITIONS + start), logits(after, POSITIONS + start))


def test_linear_squeezes_positions(tmp_path: Path, recipe: Recipe) -> None:
    before, after = extended(
        tmp_path, recipe, "linear", rope_parameters={"rope_theta": 5e5, "rope_type": "default"}
    )
    assert after.config.max_position_embeddings == CONTEXT
    assert after.config.rope_parameters == {"rope_type": "linear", "rope_theta": 5e5, "factor": FACTOR}
    # Position 4 n is what n was before.
    squeezed = logits(after, POSITIONS * int(FACTOR))
    assert torch.allclose(squeezed, logits(before, POSITIONS), atol=1e-5)
    assert not torch.allclose(squeezed, logits(before, POSITIONS * int(FACTOR)), atol=1e-3)


def test_yarn_squeezes_slow_rotations_only(tmp_path: Path, recipe: Recipe) -> None:
    before, after = extended(tmp_path, recipe, "yarn")
    yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": FACTOR, "original_max_position_embeddings": OLD}
    assert after.config.max_position_embeddings == CONTEXT
    assert after.config.rope_parameters == yarn
    old, new = before.model.rotary_emb, after.model.rotary_emb
    ratio = old.inv_freq / new.inv_freq
    # The paper's bounds: above 32 rotations in the old limit nothing changes, below one all is divided.
    rotations = OLD * old.inv_freq / (2 * math.pi)
    assert (rotations > 32).any() and torch.equal(
        ratio[rotations > 32], torch.ones_like(ratio[rotations > 32])
    )
    assert (rotations < 1).any() and torch.allclose(ratio[-1], torch.tensor(FACTOR))
    assert ((ratio >= 1) & (ratio <= FACTOR * 1.001)).all()
    assert new.attention_scaling == pytest.approx(0.1 * math.log(FACTOR) + 1)
    # The same as transformers' own model of these settings and weights.
    settings = {**before.config.to_dict(), "rope_parameters": yarn, "max_position_embeddings": CONTEXT}
    theirs = LlamaForCausalLM(LlamaConfig.from_dict(settings))
    theirs.load_state_dict(before.state_dict())
    for start in (0, 1500):
        assert torch.equal(logits(theirs, POSITIONS + start), logits(after, POSITIONS + start))
    assert not torch.allclose(logits(before, POSITIONS), logits(after, POSITIONS), atol=1e-3)


@pytest.mark.parametrize("method", ["linear", "yarn"])
def test_enough_positions_stay_as_they_are(tmp_path: Path, recipe: Recipe, method: str) -> None:
    before, after = extended(tmp_path, recipe, method, max_position_embeddings=CONTEXT)
    assert after.config.max_position_embeddings == CONTEXT
    assert after.config.rope_parameters == before.config.rope_parameters


def test_the_old_way_of_writing_rope_is_understood(tmp_path: Path, recipe: Recipe) -> None:
    source = foreign(tmp_path / "source", llama())
    config = json.loads((source / "config.json").read_text())
    del config["rope_parameters"]
    config |= {"rope_theta": 1e6, "rope_scaling": None, "torch_dtype": config.pop("dtype")}
    (source / "config.json").write_text(json.dumps(config))
    extend(str(source), tmp_path / "out", recipe.replace(base=recipe.base.replace(positions="linear")))
    after = load(tmp_path / "out")
    assert after.config.rope_parameters == {"rope_type": "linear", "rope_theta": 1e6, "factor": FACTOR}
    assert after.dtype == torch.bfloat16


def refusal(tmp_path: Path, recipe: Recipe, method: str, config: Any) -> str:
    source = foreign(tmp_path / "source", config)
    with pytest.raises(CheckpointError) as raised:
        extend(str(source), tmp_path / "out", recipe.replace(base=recipe.base.replace(positions=method)))
    message = str(raised.value)
    assert message.startswith(f"{source}/config.json: ") and "\n" not in message
    return message


def test_scaled_positions_are_not_scaled_again(tmp_path: Path, recipe: Recipe) -> None:
    scaled = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
    message = refusal(tmp_path, recipe, "yarn", llama(rope_parameters=scaled))
    assert "rope_type is 'linear'" in message and "base.positions=extrapolate" in message


@pytest.mark.parametrize("limit", [OLD, CONTEXT])
def test_models_with_dynamic_positions_are_refused(tmp_path: Path, recipe: Recipe, limit: int) -> None:
    dynamic = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    config = llama(rope_parameters=dynamic, max_position_embeddings=limit)
    assert "longest conversation of a pack" in refusal(tmp_path, recipe, "extrapolate", config)


def test_learned_positions_are_not_extended(tmp_path: Path, recipe: Recipe) -> None:
    assert "64 learned positions" in refusal(tmp_path, recipe, "extrapolate", starcoder(n_positions=64))


def test_settings_of_positions() -> None:
    assert load_recipe("openchat_8192").base.positions == "extrapolate"
    for method in ("dynamic", "ntk"):
        with pytest.raises(ConfigError, match=f"{method}.*longest conversation of a pack.*linear or yarn"):
            load_recipe("openchat_8192", [f"base.positions={method}"])
