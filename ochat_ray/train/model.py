"""A causal language model of transformers, run on packs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ochat_ray.config import TrainConfig
from ochat_ray.errors import CheckpointError, one_line
from ochat_ray.positions import changing_rope
from ochat_ray.train import attention
from ochat_ray.train.batch import PackedBatch
from ochat_ray.train.flops import load_config
from ochat_ray.train.loss import packed_loss, row_losses
from ochat_ray.train.weights import Weights

# What some configs do to attention's or the head's logits, and the value that does nothing.
LOGITS = {
    "final_logit_softcapping": None,
    "attn_logit_softcapping": None,
    "logit_scale": 1.0,
    "logits_scaling": 1.0,
    "output_multiplier_scale": 1.0,
    "lm_head_multiplier": 1.0,
}


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

    def conversation_losses(self, batch: PackedBatch) -> torch.Tensor:
        """`sum(weight * cross-entropy)` of each conversation of the pack, float32, (N,)."""
        losses_T = row_losses(
            self._hidden_TH(batch),
            batch.labels_T,
            batch.weights_T,
            self.hf.get_output_embeddings(),
            vocab_size=self.vocab_size,
        )
        lengths_N = batch.cu_seqlens.diff()
        numbers_T = torch.repeat_interleave(torch.arange(len(lengths_N), device=losses_T.device), lengths_N)
        return losses_T.new_zeros(len(lengths_N)).index_add_(0, numbers_T, losses_T)

    def logits(self, batch: PackedBatch) -> torch.Tensor:
        """Logits of a pack, (T, V), by the same path as the loss."""
        logits_TV: torch.Tensor = self.hf.get_output_embeddings()(self._hidden_TH(batch))
        return logits_TV

    def plain_logits(self, input_ids_T: torch.Tensor) -> torch.Tensor:
        """Logits of one conversation as transformers computes them with its plain attention, (T, V)."""
        self.hf.set_attn_implementation("eager")
        training = self.hf.training
        self.hf.eval()  # some draw dropout inside of the attention that is not ours
        try:
            logits_TV: torch.Tensor = self.hf(input_ids=input_ids_T.unsqueeze(0), use_cache=False).logits[0]
        finally:
            self.hf.train(training)
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


def build(base: Path, config: TrainConfig) -> PackedModel:
    """The base model's modules with packed attention and without dropout; their weights are yet to be read.

    On the device of the context (`with torch.device("meta")` for none yet), in float32. Raises
    CheckpointError where transformers does not know it or it cannot be trained in packs.
    """
    from transformers import AutoModelForCausalLM

    attention.register()
    try:
        hf = AutoModelForCausalLM.from_config(
            load_config(base), dtype=torch.float32, attn_implementation=attention.NAME
        )
    except Exception as error:  # a model that is not made for this fails in ways of its own
        raise CheckpointError(
            f"{base}: not a model that can be trained here ({one_line(error)}); give a Hugging "
            "Face folder of a causal language model whose attention can be chosen, such as Llama or Mistral"
        ) from error
    refuse_dynamic_rope(hf.config.to_dict(), base)
    refuse_scaled_logits(hf.config.to_dict(), base)
    # Results must not depend on how conversations fall into packs and workers.
    for module in hf.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if config.activation_checkpointing:
        hf.activation_checkpointing_enable({"use_reentrant": False})
    hf.config.use_cache = False
    return PackedModel(hf.train())


def check_weights(model: PackedModel, weights: Weights) -> None:
    """Raises CheckpointError naming the tensors where the folder's are not those of the model."""
    # ZeRO-3 has cut the weights up by now, and keeps the shapes that they had.
    own = {name: getattr(weight, "ds_shape", weight.shape) for name, weight in parameters(model)}
    missing = sorted(name for name in own if name not in weights.names)
    if missing:
        raise CheckpointError(
            f"{weights.base}: {len(missing)} weights of {type(model.hf).__name__} are missing, such as "
            f"{missing[0]}; give a whole model folder, of a model whose files name weights as its modules do "
            "(mixtures of experts mostly do not)"
        )
    for name, shape in own.items():
        if weights.shape(name) != shape:
            raise CheckpointError(
                f"{weights.base}: {name} is {_size(weights.shape(name))}, but config.json wants "
                f"{_size(shape)}; the folder's files are of different models"
            )


def parameters(model: PackedModel) -> Iterator[tuple[str, nn.Parameter]]:
    """Each weight once, by the name it has in a Hugging Face folder."""
    yield from model.hf.named_parameters()


def restore_buffers(model: PackedModel) -> None:
    """Compute again what a model built on the meta device lost: what no file holds, as rotary frequencies,
    and that output embeddings may be the input embeddings."""
    model.hf.tie_weights()
    for module in model.hf.modules():
        if [*module.buffers(recurse=False)]:
            model.hf._init_weights(module)


def widen_buffers(model: PackedModel) -> None:
    """Give all buffers of real numbers float32."""
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_floating_point():
                setattr(module, name, buffer.float())


def refuse_dynamic_rope(config: dict[str, Any], base: Path) -> None:
    """Raises CheckpointError where positions are embedded otherwise for longer sequences."""
    rope = changing_rope(config)
    if rope is not None:
        raise CheckpointError(
            f"{base}/config.json: rope_type {rope!r} changes with the longest conversation of a pack; "
            "train a model with another, such as 'default', 'linear', 'yarn' or 'llama3'"
        )


def refuse_scaled_logits(config: dict[str, Any], base: Path) -> None:
    """Raises CheckpointError where logits are more than the output head's, which is all the loss sees."""
    for name, plain in LOGITS.items():
        if config.get(name, plain) not in (plain, None):
            raise CheckpointError(
                f"{base}/config.json: {name} = {config[name]} changes attention or logits in a way that the "
                "packed loss does not know; train another model, such as Llama, Mistral or Qwen"
            )


def layers(model: PackedModel) -> list[nn.Module]:
    """The model's repeated layers, as transformers declares them; a layer inside a layer comes first."""
    classes = tuple(model.hf._no_split_modules or ())
    return [module for module in reversed([*model.modules()]) if type(module).__name__ in classes]


def _size(shape: torch.Size) -> str:
    return " x ".join(map(str, shape))
