"""The model card: README.md of an exported folder, for people and for model hubs."""

from __future__ import annotations

import json
from typing import Any

import yaml

from ochat_ray.config import Recipe
from ochat_ray.model_types import ModelType
from ochat_ray.train.folders import Folders
from ochat_ray.train.watch.logs import Logs

NAME = "README.md"
WHOLE = """from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = (kind.from_pretrained("FOLDER") for kind in (AutoModelForCausalLM, AutoTokenizer))"""
ADAPTER = """from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

model, tokenizer = (kind.from_pretrained("FOLDER") for kind in (AutoPeftModelForCausalLM, AutoTokenizer))"""


def write_card(
    folders: Folders,
    model_type: ModelType,
    recipe: Recipe,
    manifest: dict[str, Any],
    training: dict[str, Any],
) -> None:
    """Write what the exported model is made of: data, recipe and losses, and how to load it."""
    adapter = recipe.train.lora.alone
    header = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["ochat-ray", "conversational"],
    }
    train = recipe.train
    rows = {
        "base model": f"{model_type.base} (as the model type has it)",
        "model type": f"{model_type.name}, {model_type.context:,} tokens",
        "trained": f"adapters of rank {train.lora.rank}" if train.lora.rank else "all weights",
        "steps": f"{training['steps']:,} in {train.epochs} epochs, {train.bins_per_step} bins of "
        f"{train.max_tokens:,} tokens each",
        "tokens": f"{training['tokens']:,}, of which {training['target_tokens']:,} carry loss",
        "learning rate": f"{train.learning_rate}, {train.schedule}",
        "loss, first and last step": f"{training['first_loss']:.4f}, {training['last_loss']:.4f}",
        "loss on held-out conversations": _held_out(folders),
        "conversations": _conversations(manifest["counts"]),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    text = f"""---
{chr(10).join(f"{key}: {json.dumps(value)}" for key, value in header.items())}
---

# {recipe.name}

{recipe.description}

| | |
|---|---|
{table}

## Use

```python
{ADAPTER if adapter else WHOLE}
ids = tokenizer.apply_chat_template([{{"role": "user", "content": "Hello"}}], add_generation_prompt=True,
                                    return_tensors="pt", return_dict=True)
print(tokenizer.decode(model.generate(**ids, max_new_tokens=200)[0]))
```

Fine-tuned by ochat-ray. `ochat.json` holds every setting.

<details><summary>Recipe</summary>

```yaml
{_plain(recipe)}```

</details>
"""
    (folders.exporting / NAME).write_text(text, encoding="utf-8")


def _held_out(folders: Folders) -> str:
    logs = Logs.load(folders)
    if not logs.evals:
        return "none held out"
    last, lowest = logs.evals[-1], logs.lowest
    more = f" (lowest {lowest['eval_loss']:.4f} at step {lowest['step']:,})" if lowest is not last else ""
    return f"{last['eval_loss']:.4f}{more}"


def _conversations(counts: dict[str, Any]) -> str:
    if "kept" not in counts:
        return "unknown"
    read = f" kept of {counts['documents']:,} read" if "documents" in counts else ""
    return f"{counts['kept']:,}{read}"


def _plain(recipe: Recipe) -> str:
    """The recipe's settings of data and training."""
    told = recipe.model_dump(mode="json", include={"name", "model_type", "data", "train"})
    return yaml.safe_dump(told, sort_keys=False)
