"""A causal language model of transformers, run on packs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ochat_ray.errors import CheckpointError
from ochat_ray.positions import changing_rope
from ochat_ray.train import attention
from ochat_ray.train.batch import PackedBatch
from ochat_ray.train.loss import packed_loss


class PackedModel(nn.Module):
    """`hf` with a forward pass over one pack.

    Loss and logits are computed in here because FSDP gathers the output head's weights only for the
    length of this module's forward pass.
    """

    def __init__(self, hf: Any) -> None:
        super().__init__()
        self.hf = hf
        self.vocab_size: int = hf.config.vocab_size

    def forward(self, batch: PackedBatch, divisor: float) -> torch.Tensor:
        """`sum(weight * cross-entropy) / divisor` over the pack, a float32 scalar."""
        return packed_loss(
            self._hidden_TH(batch),
            batch.labels_T,
            batch.weights_T,
            self.hf.get_output_embeddings(),
            vocab_size=self.vocab_size,
            divisor=divisor,
        )

    def logits(self, batch: PackedBatch) -> torch.Tensor:
        """Logits of a pack, (T, V), by the same path as the loss."""
        logits_TV: torch.Tensor = self.hf.get_output_embeddings()(self._hidden_TH(batch))
        return logits_TV

    def plain_logits(self, input_ids_T: torch.Tensor) -> torch.Tensor:
        """Logits of one conversation as transformers computes them with its plain attention, (T, V)."""
        self.hf.set_attn_implementation("eager")
        try:
            logits_TV: torch.Tensor = self.hf(input_ids=input_ids_T.unsqueeze(0), use_cache=False).logits[0]
        finally:
            self.hf.set_attn_implementation(attention.NAME)
        return logits_TV

    def _hidden_TH(self, batch: PackedBatch) -> torch.Tensor:
        hidden_TH: torch.Tensor = self.hf.base_model(
            input_ids=batch.input_ids_T.unsqueeze(0),
            position_ids=batch.position_ids_T.unsqueeze(0),
            # A cache would merge the conversations, and so would an attention mask of ones.
            use_cache=False,
            cu_seq_lens_q=batch.cu_seqlens,
            cu_seq_lens_k=batch.cu_seqlens,
            max_length_q=batch.longest,
            max_length_k=batch.longest,
        ).last_hidden_state[0]
        return hidden_TH


def load_model(base: Path, *, activation_checkpointing: bool) -> PackedModel:
    """The base model in float32 on the CPU, with packed attention and without dropout.

    Raises CheckpointError where transformers cannot load it or it cannot be trained in packs.
    """
    from transformers import AutoModelForCausalLM

    attention.register()
    try:
        hf = AutoModelForCausalLM.from_pretrained(
            base, dtype=torch.float32, attn_implementation=attention.NAME, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{base}: not a model that can be trained here ({' '.join(str(error).split())}); give a Hugging "
            "Face folder of a causal language model whose attention can be chosen, such as Llama or Mistral"
        ) from error
    refuse_dynamic_rope(hf.config.to_dict(), base)
    # Results must not depend on how conversations fall into packs and workers.
    for module in hf.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if activation_checkpointing:
        hf.gradient_checkpointing_enable({"use_reentrant": False})
    hf.config.use_cache = False
    return PackedModel(hf.train())


def refuse_dynamic_rope(config: dict[str, Any], base: Path) -> None:
    """Raises CheckpointError where positions are embedded otherwise for longer sequences."""
    rope = changing_rope(config)
    if rope is not None:
        raise CheckpointError(
            f"{base}/config.json: rope_type {rope!r} changes with the longest conversation of a pack; "
            "train a model with another, such as 'default', 'linear', 'yarn' or 'llama3'"
        )


def layer_classes(hf: Any) -> tuple[str, ...]:
    """Class names of the model's repeated layers, as transformers declares them."""
    return tuple(hf._no_split_modules or ())
