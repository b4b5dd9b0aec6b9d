"""Trained weights as a Hugging Face folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from ochat_ray.train.model import PackedModel

PREFIX = "hf."


def write_weights(model: PackedModel, base: Path, folder: Path) -> None:
    """Gather the weights and write them with their config into `folder`, in the dtype of `base`.

    Every worker must call this; the first one writes.
    """
    from safetensors.torch import save_file
    from transformers import AutoConfig

    full = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if dist.get_rank() == 0:
        config = AutoConfig.from_pretrained(base, local_files_only=True)
        dtype = config.dtype or torch.float32
        tied = set(model.hf._tied_weights_keys or {}) if config.tie_word_embeddings else set()
        weights = {
            name.removeprefix(PREFIX): weight.to(dtype).contiguous()
            for name, weight in full.items()
            if name.removeprefix(PREFIX) not in tied
        }
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(folder)
        model.hf.generation_config.save_pretrained(folder)
    dist.barrier()
