"""Trained weights as a Hugging Face folder, gathered weight by weight."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ochat_ray.config import TrainConfig
from ochat_ray.template import ChatTemplate
from ochat_ray.train import lora
from ochat_ray.train.flops import load_config
from ochat_ray.train.strategies import Strategy


def write_model(
    strategy: Strategy, base: Path, folder: Path, config: TrainConfig, template: ChatTemplate
) -> None:
    """Write weights and their configs into `folder`, in the dtype of `base`: all of the model, with adapters
    merged into it, or the adapter alone.

    Every worker must call this. The first one writes, and holds the weights of one file at a time.
    """
    shape = load_config(base)
    adapter = config.lora.alone
    tensors = lora.adapter_weights(strategy) if adapter else lora.merged_weights(strategy, config.lora)
    if dist.get_rank() == 0:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if adapter:
            peft = lora.peft_config(config.lora)
            peft.base_model_name_or_path = str(base)
            peft.save_pretrained(folder)
        else:
            shape.save_pretrained(folder)
            _generation_config(base, shape, template).save_pretrained(folder)
    dtype = shape.dtype or torch.float32
    stored = ((name, weight.to("cpu", dtype).contiguous()) for name, weight in tensors)
    if dist.get_rank() == 0:
        _write_shards(stored, folder, "adapter_model" if adapter else "model", config.export.shard_gb * 1e9)
    else:
        for _ in stored:  # takes part in gathering each
            pass
    dist.barrier()


def _write_shards(
    tensors: Iterator[tuple[str, torch.Tensor]], folder: Path, stem: str, shard_bytes: float
) -> None:
    """Files of at most so many bytes, and an index where there is more than one."""
    from safetensors.torch import save_file

    files: list[list[str]] = []
    held: dict[str, torch.Tensor] = {}
    total = size = 0

    def flush() -> None:
        save_file(held, folder / f"{stem}-{len(files)}", metadata={"format": "pt"})
        files.append([*held])
        held.clear()

    for name, tensor in tensors:
        if held and size + tensor.nbytes > shard_bytes:
            flush()
            size = 0
        held[name] = tensor
        size += tensor.nbytes
        total += tensor.nbytes
    flush()
    if len(files) == 1:
        (folder / f"{stem}-0").rename(folder / f"{stem}.safetensors")
        return
    places: dict[str, str] = {}
    for index, names in enumerate(files):
        file = f"{stem}-{index + 1:05}-of-{len(files):05}.safetensors"
        (folder / f"{stem}-{index}").rename(folder / file)
        places |= dict.fromkeys(names, file)
    listing = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(listing, indent=2), encoding="utf-8")


def _generation_config(base: Path, shape: Any, template: ChatTemplate) -> Any:
    """The base's own, but that generation ends with a turn."""
    from transformers import GenerationConfig

    try:
        found = GenerationConfig.from_pretrained(base, local_files_only=True)
    except OSError:  # it has none
        found = GenerationConfig.from_model_config(shape)
    found.bos_token_id = template.bos_ids[0] if template.bos_ids else None
    found.eos_token_id = template.eot_id
    return found
