"""A small exported model with random weights, and endpoints over it with and without Ray."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ochat_ray.config import ServeConfig
from ochat_ray.config.access import AccessConfig
from ochat_ray.config.serve import EngineConfig
from ochat_ray.exported import Exported, load_exported, write_chat_files
from ochat_ray.model_types import load_model_type
from ochat_ray.serve.access.guard import guard
from ochat_ray.serve.http import create_api
from ochat_ray.serve.models import Models, ServedModel
from ochat_ray.serve.replica import EngineReplica
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer
from tests.listening import listening

settings.register_profile("ochat", deadline=None)  # shared machines have no even pace
settings.load_profile("ochat")

TEXT = [
    "The quick brown fox jumps over the lazy dog.",
    "Gr\u00fc\u00dfe aus K\u00f6ln, \u3053\u3093\u306b\u3061\u306f\u4e16\u754c, "
    "\U0001f600\U0001f680 and caf\u00e9.",
    "Human: what is 2 + 2? Assistant: it is four.",
]


def make_tokenizer(vocab_size: int = 400) -> ChatTokenizer:
    """A byte-level BPE with OpenChat's special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<s>", "<|end_of_turn|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT * 3, trainer)
    return ChatTokenizer(json.loads(tokenizer.to_str()), bos_token="<s>")


def llama(**changes: Any) -> Any:
    """A tiny Llama with grouped-query attention, the same each time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = {
        "vocab_size": 400,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "initializer_range": 0.4,  # so that logits are far apart and greedy choices clear
        "tie_word_embeddings": False,
        **changes,
    }
    torch.manual_seed(7)
    return LlamaForCausalLM(LlamaConfig(**settings)).eval()


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random Llama of type `openchat`."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    tokenizer = make_tokenizer()
    llama(vocab_size=tokenizer.vocab_size).save_pretrained(folder)
    write_chat_files(folder, ChatTemplate(load_model_type("openchat"), tokenizer), facts={})
    return folder


@pytest.fixture(scope="session")
def exported(model_dir: Path) -> Exported:
    return load_exported(model_dir)


LOCAL = ServeConfig(
    engine=EngineConfig(max_running=8, cache_tokens=8192, prefill_chunk=64),
    request_timeout_s=60.0,
    access=AccessConfig(),
)


@pytest.fixture(scope="session")
def replica(model_dir: Path) -> Iterator[EngineReplica]:
    """An engine in this process."""
    replica = EngineReplica(str(model_dir), LOCAL, gpu=False)
    yield replica
    replica.close()


@pytest.fixture(scope="session")
def served(exported: Exported, replica: EngineReplica) -> ServedModel:
    """The model over an engine in this process."""
    return ServedModel.of(exported, replica, LOCAL, "openchat")


def api_over(*models: ServedModel, config: ServeConfig = LOCAL) -> Any:
    """The routes over models, behind what stands before them on a cluster too."""
    return guard(create_api(Models(models, config.aliases), config), config.access)


@pytest.fixture(scope="session")
def local_url(served: ServedModel) -> Iterator[str]:
    """The HTTP endpoint over `served`, without Ray Serve. No /v1 at the end."""
    with listening(api_over(served, config=LOCAL.replace(aliases={"gpt-x": "openchat"}))) as url:
        yield url
