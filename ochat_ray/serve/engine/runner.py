"""The model: packed tokens of several requests in, logits of the rows that are to be sampled out."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from ochat_ray.errors import CheckpointError, one_line
from ochat_ray.positions import changing_rope
from ochat_ray.serve.engine.kv_cache import KVCache
from ochat_ray.serve.engine.room import Room
from ochat_ray.serve.engine.scheduler import Request, Scheduler, Step

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}  # relative error of logits
_numbers = itertools.count()


class Runner:
    """Runs any transformers causal language model whose attention is plain and causal, unchanged.

    The model's own code runs over a pack of tokens; only its attention function is ours. `check` holds
    the result against the model's own attention, and is called once before serving.
    """

    def __init__(self, model: Any, *, cache_tokens: int, longest: int) -> None:
        _refuse_changing_positions(model.config.get_text_config())
        self.model = model.eval()
        self.device: torch.device = model.device
        self.cache = KVCache(cache_tokens, longest)
        self._name = f"ochat_segments_{next(_numbers)}"
        AttentionInterface.register(self._name, self.cache.attend)
        self.model.set_attn_implementation(self._name)

    @classmethod
    def load(cls, folder: Path, *, dtype: str, device: str, cache_tokens: int, longest: int) -> Runner:
        """The model of a Hugging Face folder. Raises CheckpointError where transformers cannot load it."""
        transformers_logging.disable_progress_bar()
        if dtype == "auto":
            dtype = "bfloat16" if device == "cuda" else "float32"
        try:
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=DTYPES[dtype], attn_implementation="sdpa", local_files_only=True
            )
        except Exception as error:  # transformers and safetensors have no common one
            raise CheckpointError(
                f"{folder}: cannot be loaded as a causal language model ({one_line(error)}); "
                "give the folder that `ochat-ray train` exported"
            ) from error
        return cls(model.to(device), cache_tokens=cache_tokens, longest=longest)

    @torch.inference_mode()
    def run(self, step: Step) -> Tensor:
        """Logits [R V] in float32 of the work that samples, in order."""
        self.cache.move(step.moves)
        ids: list[int] = []
        positions: list[int] = []
        rows: list[int] = []
        for work in step.work:
            ids += work.request.tokens[work.start : work.end]
            positions += range(work.start, work.end)
            if work.samples:
                rows.append(len(ids) - 1)
        self.cache.prepare([(w.offset, w.start, w.end) for w in step.work], self.device)
        input_T, position_T = torch.tensor([ids, positions], device=self.device)
        logits: Tensor = self.model(
            input_ids=input_T[None],
            position_ids=position_T[None],
            use_cache=False,
            logits_to_keep=torch.tensor(rows, dtype=torch.long, device=self.device),
        ).logits[0]
        return logits.float()

    @torch.inference_mode()
    def check(self) -> None:
        """Compare with the model's own attention, on two prompts run in chunks side by side.

        Raises CheckpointError naming the architecture where the logits differ, or the kind of
        attention that is not supported.
        """
        length = min(24, self.cache.longest - 1)
        vocabulary = self.model.config.get_text_config().vocab_size
        generator = torch.Generator().manual_seed(0)
        prompts = torch.randint(vocabulary, (2, length), generator=generator)
        ours = self._last_logits(prompts.tolist())
        self.model.set_attn_implementation("sdpa")
        theirs = [self.model(p[None].to(self.device), use_cache=False).logits[0, -1].float() for p in prompts]
        self.model.set_attn_implementation(self._name)
        for ours_V, theirs_V in zip(ours, theirs, strict=True):
            error = float((ours_V - theirs_V).norm() / theirs_V.norm())
            if not error < TOLERANCE[self.model.dtype]:
                raise CheckpointError(
                    f"{type(self.model).__name__}: the engine's logits differ from the model's own by "
                    f"{error:.2g} (relative); it cannot serve this architecture yet"
                )

    def _last_logits(self, prompts: list[list[int]]) -> list[Tensor]:
        """Logits [V] after each prompt, run in chunks side by side as the engine does."""
        scheduler = Scheduler(
            Room(self.cache.tokens), max_running=len(prompts), prefill_chunk=len(prompts[0]) // 2 + 3
        )
        for key, prompt in enumerate(prompts):
            scheduler.add(Request(key, list(prompt), limit=len(prompt) + 1))
        found: dict[int, Tensor] = {}
        while scheduler.busy:
            step = scheduler.schedule()
            logits_RV = self.run(step)
            keys = [work.request.key for work in step.work if work.samples]
            for key, logits_V in zip(keys, logits_RV, strict=True):
                found[key] = logits_V
                scheduler.remove(key)
        return [found[key] for key in range(len(prompts))]


def _refuse_changing_positions(config: Any) -> None:
    """Raises CheckpointError for rotary embeddings whose angles depend on the longest sequence that runs:
    a request's text would change with its neighbours, and its cached keys would become wrong."""
    kind = changing_rope(config.to_dict())
    if kind is not None:
        raise CheckpointError(
            f"{config.model_type}: rope type {kind!r} changes positions with the longest running "
            "request; the engine cannot serve that yet"
        )
