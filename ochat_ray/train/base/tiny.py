"""A tiny base model from scratch, for demos and tests."""

from __future__ import annotations

import json
from pathlib import Path

from ochat_ray import sample
from ochat_ray.config import Recipe
from ochat_ray.exported import write_tokenizer
from ochat_ray.model_types import ModelType, load_model_type
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer
from ochat_ray.train.base.folder import appearing, require_empty
from ochat_ray.train.base.rows import Rows

END = "</s>"


def make_tiny(output: Path, recipe: Recipe) -> None:
    """A random Llama of `recipe.base`'s shape in float32, and a byte-level BPE tokenizer of the sample.

    The same recipe gives the same files. Raises CheckpointError if `output` is not empty.
    """
    require_empty(output)
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    kind, shape = load_model_type(recipe.model_type), recipe.base
    template = ChatTemplate(kind, _tokenizer(kind, shape.vocab_size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(shape.seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=Rows.plan(0, template.tokenizer.vocab_size, 0, shape.vocab_multiple).total,
                hidden_size=shape.hidden_size,
                intermediate_size=shape.intermediate_size,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                num_key_value_heads=shape.kv_heads,
                max_position_embeddings=kind.context,
                bos_token_id=template.bos_ids[0] if template.bos_ids else None,
                eos_token_id=template.eot_id,
                pad_token_id=None,
            )
        ).float()
    with appearing(output) as folder:
        model.save_pretrained(folder)
        write_tokenizer(folder, template)


def _tokenizer(kind: ModelType, vocab_size: int) -> ChatTokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(dict.fromkeys([*kind.specials, END])),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample.texts(), trainer)
    return ChatTokenizer(json.loads(tokenizer.to_str()), kind.bos if kind.bos in kind.specials else None)
