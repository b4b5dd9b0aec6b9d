"""The tensors with a row for each token: their names in a checkpoint, and their new rows."""

from __future__ import annotations

from typing import Any

import torch

from ochat_ray.errors import CheckpointError
from ochat_ray.train.base.rows import Rows

# Models whose makers extended them with freshly drawn rows; others get the mean of the existing ones.
NORMAL_INIT = ("gpt_bigcode", "starcoder2")
NORMAL_STD = 0.02
MEAN_ROWS = 4096  # in double precision at a time


def table_names(config: Any, *, trust_remote_code: bool) -> list[set[str]]:
    """The names, in a checkpoint of this config, of the input embedding and of the output's parameters.

    Each set is one tensor by all names that it may have: tied embeddings are in one. Raises ValueError
    for a config of which transformers makes no causal language model.
    """
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    head = model.get_output_embeddings()
    tables = {id(model.get_input_embeddings().weight): set[str]()}
    tables |= {id(parameter): set() for parameter in (head.parameters() if head is not None else ())}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in tables:
            # A checkpoint of the model without its head has no prefix.
            tables[id(parameter)] |= {name, name.removeprefix(f"{model.base_model_prefix}.")}
    return list(tables.values())


class Tables:
    """Gives the tensors of a checkpoint their new rows, and leaves the others alone."""

    def __init__(self, names: list[set[str]], rows: Rows, *, model_type: str, vocab_size: int, seed: int):
        self.names = frozenset().union(*names)
        self._number = {name: number for number, group in enumerate(names) for name in group}
        self._missing = list(names)
        self._rows, self._vocab_size, self._seed = rows, vocab_size, seed
        self._normal = model_type in NORMAL_INIT

    def change(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor of a name as it is to be. Raises ValueError where it does not fit the config."""
        number = self._number.get(name)
        if number is None:
            return tensor
        self._missing = [group for group in self._missing if name not in group]
        if len(tensor) != self._vocab_size:
            raise ValueError(f"{name} has {len(tensor):,} rows, but vocab_size is {self._vocab_size:,}")
        if not tensor.is_floating_point():
            raise ValueError(f"{name} is quantised to {tensor.dtype}")
        # Seeded by table, so that tied names draw alike and the order of shards does not matter.
        generator = torch.Generator().manual_seed(self._seed + number)
        return grow(tensor, self._rows, normal=self._normal, generator=generator)

    def require_all(self, name: str) -> None:
        """Raises CheckpointError for a model (`name`) in whose files a table was not among those changed."""
        if self._missing:
            raise CheckpointError(
                f"{name}: its weights hold no tensor {min(self._missing[0])}; get the model again, whole"
            )


def grow(tensor: torch.Tensor, rows: Rows, *, normal: bool, generator: torch.Generator) -> torch.Tensor:
    """The tensor with `rows`: those made are drawn from N(0, 0.02), or the mean of the trained ones."""
    if not rows.made:
        return tensor
    new = tensor.new_empty((rows.total, *tensor.shape[1:]))
    new[: len(tensor)] = tensor
    shape = (len(rows.made), *tensor.shape[1:])
    made = list(rows.made)
    if normal:
        new[made] = (torch.randn(shape, generator=generator) * NORMAL_STD).to(tensor.dtype)
    else:
        new[made] = _mean(tensor[: rows.trained]).to(tensor.dtype).expand(shape)
    return new


def _mean(rows: torch.Tensor) -> torch.Tensor:
    # All of it in double precision would be four times the size of the table.
    total = torch.stack([part.double().sum(0) for part in rows.split(MEAN_ROWS)]).sum(0)
    return total / len(rows)
