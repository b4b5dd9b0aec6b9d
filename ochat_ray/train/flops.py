"""How large a model is, and how many floating-point operations training it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ochat_ray.errors import CheckpointError, one_line
from ochat_ray.train.gpus import find_gpu


@dataclass(frozen=True)
class Size:
    """A causal language model by its `config.json`.

    Parameters, each tensor counted once: `parameters` in all, `embedding` in tables that are looked up
    (tokens, and learned positions), `head` in the output head, which is the table of tokens where
    `tied`, `layer` in one of the `layers`. `window`: tokens that a position sees, itself included, where
    every layer slides; else None. `architecture`: the config's `model_type`.
    """

    architecture: str
    parameters: int
    embedding: int
    head: int
    tied: bool
    layer: int
    layers: int
    hidden: int
    heads: int
    head_dim: int
    vocab_size: int
    window: int | None

    @classmethod
    def of(cls, base: Path) -> Self:
        """From a model folder; reads no weights. Raises CheckpointError for what is no such model."""
        return cls.of_model(skeleton(base))

    @classmethod
    def of_model(cls, hf: Any) -> Self:
        """Of a transformers model, unsharded and without adapters, on any device.

        Raises CheckpointError for one without attention.
        """
        from torch import nn

        config = hf.config.get_text_config()
        tables = {
            id(module.weight): module.weight.numel()
            for module in hf.modules()
            if isinstance(module, nn.Embedding)
        }
        head, names = hf.get_output_embeddings().weight, tuple(hf._no_split_modules or ())
        repeated = [module for module in hf.modules() if type(module).__name__ in names]
        heads = getattr(config, "num_attention_heads", None)
        if heads is None:
            raise CheckpointError(
                f"{type(hf).__name__}: mixes tokens by other means than attention, which would not keep the "
                "conversations of a pack apart; train a model such as Llama or Mistral"
            )
        kinds = set(getattr(config, "layer_types", None) or ())
        slides = kinds <= {"sliding_attention"}
        return cls(
            architecture=config.model_type,
            parameters=sum(parameter.numel() for parameter in hf.parameters()),
            embedding=sum(tables.values()),
            head=head.numel(),
            tied=id(head) in tables,
            layer=sum(parameter.numel() for layer in repeated for parameter in layer.parameters())
            // max(len(repeated), 1),
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            heads=heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            vocab_size=config.vocab_size,
            window=getattr(config, "sliding_window", None) if slides else None,
        )

    @property
    def multiplied(self) -> int:
        """Parameters that each token is multiplied with: all but looked-up tables, and the output head."""
        return self.parameters - self.embedding + (self.head if self.tied else 0)

    def flops(self, lengths_N: ArrayLike) -> float:
        """Operations of a forward and a backward pass over conversations of these lengths, tokens."""
        return float(self.conversation_flops(lengths_N).sum())

    @property
    def attention_cost(self) -> float:
        """What a pair of positions costs in attention, in what a token costs elsewhere: L d / N."""
        return self.layers * self.heads * self.head_dim / self.multiplied

    def conversation_flops(self, lengths_N: ArrayLike) -> NDArray[np.float64]:
        """Those of each conversation.

        6 N l + 12 L d p: N parameters are multiplied once forward and twice backward, an addition each
        (Kaplan et al. 2020, arXiv:2001.08361, section 2.1; Chowdhery et al. 2022, arXiv:2204.02311,
        appendix B), and so are queries with keys and probabilities with values, of width d = heads x
        head_dim, in each of L layers. Of the l^2 pairs of positions causal attention needs p = l^2 / 2,
        fewer where a window slides. What is computed twice (activation checkpointing) does not count, as
        is usual; of a mixture of experts, all count.
        """
        lengths = np.asarray(lengths_N, dtype=np.float64)
        seen = lengths if self.window is None else np.minimum(lengths, self.window)
        pairs = seen * lengths - seen**2 / 2
        width = self.heads * self.head_dim
        return 6.0 * self.multiplied * lengths + 12.0 * self.layers * width * pairs


def peak_flops(device_name: str) -> float | None:
    """Dense bfloat16 FLOP/s of a GPU by the name that `torch.cuda.get_device_name` gives, or by ours.

    None for one that is not in the table.
    """
    gpu = find_gpu(device_name)
    return gpu.teraflops * 1e12 if gpu else None


def load_config(base: Path) -> Any:
    """The transformers config of a model folder. Raises what transformers raises."""
    from transformers import AutoConfig

    # Said outright: where it is left open, transformers asks on the terminal.
    return AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)


def skeleton(base: Path) -> Any:
    """The transformers model of a folder's `config.json` in float32, without memory for its weights.

    Raises CheckpointError where there is none.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        config = load_config(base)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{base}/config.json: no model can be made of it ({one_line(error)}); give a "
            "Hugging Face folder of a causal language model, such as Llama or Mistral"
        ) from error
