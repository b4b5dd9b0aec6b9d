"""The model: packed tokens of several requests in, logits of the rows that are to be sampled out.

R: rows that are sampled, V: vocabulary, T: tokens of a step, E: size of a hidden state.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from ochat_ray.errors import CheckpointError, one_line
from ochat_ray.positions import changing_rope, position_limit
from ochat_ray.serve.engine.graphs import DecodeGraphs
from ochat_ray.serve.engine.kv_cache import KVCache, SegmentCache, Span
from ochat_ray.serve.engine.layers import speed_up
from ochat_ray.serve.engine.room import Room
from ochat_ray.serve.engine.scheduler import Request, Scheduler, Step
from ochat_ray.serve.engine.varlen import VarlenCache

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}  # relative error of logits
CHECKED = 24  # tokens of each prompt of the check
LAYERS = {"full_attention", "sliding_attention"}  # kinds that the cache computes
_numbers = itertools.count()


class Outputs(NamedTuple):
    """`logits_RV` in float32, of the work that samples, in order. `sums_E`: by request key, the sum of the
    last hidden states of a pooled request's tokens in this step, in float32."""

    logits_RV: Tensor
    sums_E: dict[int, Tensor]


class Runner:
    """Runs any transformers causal language model whose attention is plain and causal, unchanged.

    The model's own code runs over a pack of tokens; only its attention function is ours, and on a CPU its
    linear layers. `check` holds the result against the model's own attention; called once before serving.
    """

    def __init__(self, model: Any, *, cache_tokens: int, graphs_for: int | None = None) -> None:
        _refuse_by_config(model.config.get_text_config())
        self.model = model.eval()
        self.device: torch.device = model.device
        self.cache = _cache(cache_tokens, self.device)
        self._name = f"ochat_segments_{next(_numbers)}"
        AttentionInterface.register(self._name, self.cache.attend)
        self.model.set_attn_implementation(self._name)
        if self.device.type == "cpu":
            speed_up(self.model)
        self._hidden_TE: Tensor | None = None
        self.model.base_model.register_forward_hook(self._keep_hidden)
        self._graphs: DecodeGraphs | None = None
        if graphs_for is not None and isinstance(self.cache, VarlenCache):
            self._graphs = DecodeGraphs(
                self.cache,
                self._forward,
                most=graphs_for,
                longest=position_limit(model.config.get_text_config().to_dict()) or cache_tokens,
                device=self.device,
                capture=self.device.type == "cuda",
            )

    @classmethod
    def load(
        cls, folder: Path, *, dtype: str, device: str, cache_tokens: int, graphs_for: int | None = None
    ) -> Runner:
        """The model of a Hugging Face folder. On GPUs steps of up to `graphs_for` generating requests are
        CUDA graphs. Raises CheckpointError where transformers cannot load it."""
        transformers_logging.disable_progress_bar()
        if dtype == "auto":
            dtype = "bfloat16" if device == "cuda" else "float32"
        try:
            model = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=DTYPES[dtype],
                attn_implementation="sdpa",
                local_files_only=True,
                trust_remote_code=False,
            )
        except Exception as error:  # transformers and safetensors have no common one
            raise CheckpointError(
                f"{folder}: cannot be loaded as a causal language model ({one_line(error)}); "
                "give the folder that `ochat-ray train` exported"
            ) from error
        return cls(model.to(device), cache_tokens=cache_tokens, graphs_for=graphs_for)

    @property
    def vocabulary(self) -> int:
        """Tokens that the model has logits for."""
        return int(self.model.config.get_text_config().vocab_size)

    @torch.inference_mode()
    def run(self, step: Step) -> Outputs:
        """Run a step's moves and tokens."""
        self.cache.move(step.moves)
        ids: list[int] = []
        positions: list[int] = []
        rows: list[int] = []
        pooled: dict[int, slice] = {}
        for work in step.work:
            if work.request.pooled:
                pooled[work.request.key] = slice(len(ids), len(ids) + work.end - work.start)
            ids += work.request.tokens[work.start : work.end]
            positions += range(work.start, work.end)
            if work.samples:
                rows.append(len(ids) - 1)
        spans = [Span(w.offset, w.start, w.end) for w in step.work]
        if self._graphs is not None and len(rows) == len(ids) and not pooled:
            # What a graph gives is overwritten by its next replay.
            return Outputs(self._graphs.run(ids, spans).float().clone(), {})
        self.cache.prepare(spans, self.device)
        input_T, position_T = torch.tensor([ids, positions], device=self.device)
        keep_R = torch.tensor(rows, dtype=torch.long, device=self.device)
        logits_RV = self._forward(input_T, position_T, keep_R)
        hidden_TE, self._hidden_TE = self._hidden_TE, None
        assert hidden_TE is not None
        sums_E = {key: hidden_TE[part].float().sum(0) for key, part in pooled.items()}
        return Outputs(logits_RV.float(), sums_E)

    def _forward(self, input_T: Tensor, position_T: Tensor, keep_R: Tensor | int = 0) -> Tensor:
        """Logits of the rows to keep; 0 keeps all."""
        logits_RV: Tensor = self.model(
            input_ids=input_T[None], position_ids=position_T[None], use_cache=False, logits_to_keep=keep_R
        ).logits[0]
        return logits_RV

    def _keep_hidden(self, module: nn.Module, args: Any, output: Any) -> None:  # noqa: ARG002
        self._hidden_TE = output[0][0]

    @torch.inference_mode()
    def check(self) -> None:
        """Compare with the model's own attention, on two prompts run in chunks side by side.

        Raises CheckpointError naming the architecture where the logits differ, or the kind of
        attention that is not supported.
        """
        generator = torch.Generator().manual_seed(0)
        prompts = torch.randint(self.vocabulary, (2, CHECKED), generator=generator)
        ours = self._last_logits(prompts.tolist())
        window = getattr(self.model.config.get_text_config(), "sliding_window", None)
        if window is not None and not self.cache.windows:
            raise CheckpointError(
                f"{type(self.model).__name__}: has a sliding window of {window} tokens, which its layers do "
                "not tell of; the engine cannot serve this architecture yet"
            )
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
            logits_RV = self.run(step).logits_RV
            keys = [work.request.key for work in step.work if work.samples]
            for key, logits_V in zip(keys, logits_RV, strict=True):
                found[key] = logits_V
                scheduler.remove(key)
        return [found[key] for key in range(len(prompts))]


def _cache(tokens: int, device: torch.device) -> KVCache:
    if device.type != "cuda":
        return SegmentCache(tokens)
    from torch.nn.attention.varlen import varlen_attn

    return VarlenCache(tokens, varlen_attn)


def _refuse_by_config(config: Any) -> None:
    """Raises CheckpointError for layers that are not attention as the cache computes it, and for rotary
    embeddings whose angles depend on the longest sequence that runs: a request's text would change with
    its neighbours, and its cached keys would become wrong."""
    other = sorted(set(getattr(config, "layer_types", None) or ()) - LAYERS)
    if other:
        raise CheckpointError(
            f"{config.model_type}: has layers of type {other[0]!r}; the engine serves "
            f"{' and '.join(sorted(LAYERS))} only"
        )
    kind = changing_rope(config.to_dict())
    if kind is not None:
        raise CheckpointError(
            f"{config.model_type}: rope type {kind!r} changes positions with the longest running "
            "request; the engine cannot serve that yet"
        )
