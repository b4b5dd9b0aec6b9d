"""The model card: README.md of an exported folder, for people and for model hubs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ochat_ray.config import Recipe, describe
from ochat_ray.model_types import ModelType

NAME = "README.md"


def write_card(
    folder: Path, model_type: ModelType, recipe: Recipe, manifest: dict[str, Any], training: dict[str, Any]
) -> None:
    """Write what the model is made of: data counts, recipe and losses, as `manifest` and `training` say."""
    header = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["ochat-ray", "conversational"],
    }
    eval_loss = training["eval_loss"]
    rows = {
        "recipe": recipe.name,
        "model type": model_type.name,
        "context": f"{model_type.context:,} tokens",
        "optimizer steps": f"{training['steps']:,}",
        "tokens": f"{training['tokens']:,}, of which {training['target_tokens']:,} carry loss",
        "loss, first and last step": f"{training['first_loss']:.4f}, {training['last_loss']:.4f}",
        "loss on held-out conversations": "none held out" if eval_loss is None else f"{eval_loss:.4f}",
        **{
            f"data: {name}": f"{count:,}"
            for name, count in manifest["counts"].items()
            if isinstance(count, int)
        },
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    text = f"""---
{chr(10).join(f"{key}: {json.dumps(value)}" for key, value in header.items())}
---

# {recipe.name}

{recipe.description}

Fine-tuned by ochat-ray. `ochat.json` holds every setting; the chat template is in `{"chat_template.jinja"}`.

| | |
|---|---|
{table}

## Recipe

```yaml
{describe(recipe)}```
"""
    (folder / NAME).write_text(text, encoding="utf-8")
