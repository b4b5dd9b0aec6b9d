"""Configurations of published models, as their makers give them."""

from __future__ import annotations

from transformers import GPTBigCodeConfig, LlamaConfig, MistralConfig, PreTrainedConfig

PUBLISHED: dict[str, tuple[PreTrainedConfig, int]] = {
    "LLaMA-7B": (LlamaConfig(hidden_size=4096, intermediate_size=11008), 6_738_415_616),
    "LLaMA-13B": (
        LlamaConfig(hidden_size=5120, intermediate_size=13824, num_hidden_layers=40, num_attention_heads=40),
        13_015_864_320,
    ),
    "Mistral-7B": (MistralConfig(), 7_241_732_096),
    "StarCoderPlus": (
        GPTBigCodeConfig(
            vocab_size=49152,
            n_embd=6144,
            n_layer=40,
            n_head=48,
            n_inner=24576,
            n_positions=8192,
            bos_token_id=0,
            eos_token_id=0,
        ),
        15_517_456_384,
    ),
    "Llama-3-8B": (
        LlamaConfig(
            vocab_size=128256, intermediate_size=14336, num_key_value_heads=8, max_position_embeddings=8192
        ),
        8_030_261_248,
    ),
    "Llama-3-70B": (
        LlamaConfig(
            vocab_size=128256,
            hidden_size=8192,
            intermediate_size=28672,
            num_hidden_layers=80,
            num_attention_heads=64,
            num_key_value_heads=8,
            max_position_embeddings=8192,
        ),
        70_553_706_496,
    ),
}
