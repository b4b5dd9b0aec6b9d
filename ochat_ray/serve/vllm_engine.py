"""vLLM as the engine of a replica, in place of the native one: the same requests in, the same chunks out.

vLLM is asked for token ids only. Templates, tokenizer, stop strings and protocol stay ours, and an end token
is what we say it is. vLLM runs in processes of its own; the replica's only passes requests and tokens.

What differs from the native engine: equal seeds draw equally within either, but not between them;
temperatures between 0 and 0.01 are taken as 0.01, those above 2 are refused; prompts are not pooled to
embeddings.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ochat_ray.errors import CheckpointError, ConfigError, RequestError, one_line
from ochat_ray.serve.engine.limits import check_prompt
from ochat_ray.serve.engine.request import (
    Chunk,
    EngineDeadError,
    EngineStats,
    FinishReason,
    Generation,
    OverloadedError,
    TokenLogprob,
)

REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
ANY_OBJECT = '{"type": "object"}'

# vLLM's own choices would be to bind its threads to all cores that it sees, though a replica is lent only
# some, and to send statistics of use to its makers.
ENVIRONMENT = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1"}


class VllmEngine:
    """Made by `load`. All calls but `stats` and `check_health` belong to one event loop.

    `max_queued`: requests that may wait beside those that run; None for any number.
    """

    def __init__(
        self,
        llm: Any,
        meter: _Meter,
        *,
        longest: int,
        stop_ids: frozenset[int],
        most: int | None,
    ) -> None:
        self._llm = llm
        self._meter = meter
        self._longest = longest
        self._stop_ids = stop_ids
        self._most = most
        self._ids = itertools.count()

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        dtype: str,
        cache_tokens: int,
        max_running: int,
        prefill_chunk: int,
        longest: int,
        stop_ids: frozenset[int],
        max_queued: int | None = None,
    ) -> VllmEngine:
        """Start vLLM on the model of a Hugging Face folder. Threads on a CPU: OMP_NUM_THREADS.

        Raises ConfigError where vLLM is not installed, CheckpointError where it cannot serve the folder.
        """
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise ConfigError(
                f"the engine vllm is not installed here ({one_line(error)}); "
                "pip install ochat-ray[vllm], or take the engine native"
            ) from error
        meter = _Meter()
        try:
            config = AsyncEngineArgs(
                model=str(folder),
                dtype=_dtype(dtype),
                max_model_len=longest,
                max_num_seqs=max_running,
                # vLLM counts the next tokens of running requests too.
                max_num_batched_tokens=prefill_chunk + max_running,
                generation_config="vllm",  # not the folder's
                disable_log_stats=True,
            ).create_engine_config()
            _check_heads(config, folder)
            config.cache_config.kv_cache_memory_bytes = _cache_bytes(config, cache_tokens)
            llm = AsyncLLM.from_vllm_config(config, disable_log_stats=True, stat_loggers=[lambda *_: meter])
        except CheckpointError:
            raise
        except Exception as error:  # many kinds, and pydantic's
            raise CheckpointError(
                f"{folder}: vLLM cannot serve it ({one_line(error)}); its log above may say more"
            ) from error
        # One block is vLLM's own, for padding.
        meter.cache_tokens = (config.cache_config.num_gpu_blocks - 1) * config.cache_config.block_size
        most = None if max_queued is None else max_running + max_queued
        return cls(llm, meter, longest=longest, stop_ids=stop_ids, most=most)

    async def generate(self, generation: Generation) -> AsyncGenerator[Chunk, None]:
        """Chunks of a request until one has a reason. Closing the generator cancels the request.

        Raises RequestError, OverloadedError, EngineDeadError.
        """
        from vllm.exceptions import VLLMClientError
        from vllm.inputs.engine import tokens_input
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

        self._check_room()
        if generation.pool:
            raise RequestError("the engine vllm makes no embeddings; take the engine native")
        check_prompt(len(generation.prompt_ids), self._longest)
        try:
            stream = self._llm.generate(
                tokens_input(list(generation.prompt_ids)), self._parameters(generation), str(next(self._ids))
            )
            async with aclosing(stream) as outputs:
                async for output in outputs:
                    yield _chunk(output, generation.logprobs)
        except VLLMClientError as error:
            raise RequestError(one_line(error), param=getattr(error, "parameter", None)) from error
        except VllmDeadError as error:
            raise EngineDeadError(f"the engine stopped: {one_line(error)}") from error

    def stats(self) -> EngineStats:
        """As of the last step. Raises EngineDeadError."""
        self.check_health()
        return self._meter.stats(self._llm.get_num_unfinished_requests())

    def check_health(self) -> None:
        """Raises EngineDeadError when vLLM's processes have ended."""
        if self._llm.errored:
            raise EngineDeadError("the engine stopped: vLLM's process ended; its log says why")

    def close(self) -> None:
        """End vLLM's processes; requests that are still going get an error."""
        self._llm.shutdown()

    def _check_room(self) -> None:
        self.check_health()
        unfinished = self._llm.get_num_unfinished_requests()
        if self._most is not None and unfinished >= self._most:
            raise OverloadedError(
                f"{unfinished} requests are running or waiting already; try again in a few seconds"
            )

    def _parameters(self, generation: Generation) -> Any:
        """vLLM's parameters. Raises what it raises for values that it refuses."""
        from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

        sampling = generation.sampling
        room = self._longest - len(generation.prompt_ids)
        max_tokens = room if generation.max_tokens is None else min(room, generation.max_tokens)
        schema = generation.json_schema
        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            seed=_seed(sampling.seed, sampling.choice),
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            repetition_penalty=sampling.repetition_penalty,
            logit_bias=dict(sampling.logit_bias) or None,
            max_tokens=max_tokens,
            min_tokens=min(generation.min_tokens, max_tokens),
            ignore_eos=True,  # the tokenizer's, which need not be ours
            stop_token_ids=sorted(self._stop_ids | generation.stop_ids),
            logprobs=generation.logprobs,
            structured_outputs=None if schema is None else StructuredOutputsParams(json=schema or ANY_OBJECT),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY if generation.hold else RequestOutputKind.DELTA,
        )


@dataclass(slots=True)
class _Meter:
    """What vLLM tells of each step; takes the place of one of its loggers."""

    cache_tokens: int = 0
    running: int = 0
    used: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    preemptions: int = 0

    def record(self, scheduler_stats: Any, iteration_stats: Any, *_: Any, **__: Any) -> None:
        """Called after each step; either may be None."""
        if scheduler_stats is not None:
            self.running = scheduler_stats.num_running_reqs
            self.used = scheduler_stats.kv_cache_usage
        if iteration_stats is not None:
            prompts = iteration_stats.prompt_token_stats
            self.prompt_tokens += prompts.total
            self.cached_tokens += prompts.cached_tokens
            self.generated_tokens += iteration_stats.num_generation_tokens
            self.preemptions += iteration_stats.num_preempted_reqs

    def log(self) -> None:
        """Nothing to write."""

    def log_engine_initialized(self) -> None:
        """Nothing to write."""

    def stats(self, unfinished: int) -> EngineStats:
        """`unfinished`: requests that were sent and are not over."""
        running = min(self.running, unfinished)  # the last step's may be over
        return EngineStats(
            running=running,
            waiting=unfinished - running,
            free_tokens=round((1 - self.used) * self.cache_tokens) if unfinished else self.cache_tokens,
            cache_tokens=self.cache_tokens,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            generated_tokens=self.generated_tokens,
            preemptions=self.preemptions,
        )


def _dtype(name: str) -> str:
    if name != "auto":
        return name
    from vllm.platforms import current_platform

    return "float32" if current_platform.is_cpu() else "bfloat16"


def _check_heads(config: Any, folder: Path) -> None:
    """On a CPU vLLM starts with any size of attention heads, and dies of the first request."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu() or config.model_config.use_mla:
        return
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    size, sizes = config.model_config.get_head_size(), CPUAttentionBackend.get_supported_head_sizes()
    if size not in sizes:
        raise CheckpointError(
            f"{folder}: vLLM on a CPU has no attention for heads of {size}, only of "
            f"{', '.join(map(str, sizes))}; take the engine native"
        )


def _cache_bytes(config: Any, tokens: int) -> int:
    """Bytes of keys and values of so many tokens in whole blocks, and of the block that vLLM keeps."""
    model, parallel, block = config.model_config, config.parallel_config, config.cache_config.block_size
    heads = model.get_num_kv_heads(parallel) * model.get_num_layers(parallel)
    token_bytes = 2 * heads * model.get_head_size() * model.dtype.itemsize
    return int((-(-tokens // block) + 1) * block * token_bytes)


def _seed(seed: int | None, choice: int) -> int | None:
    """A seed of 63 bits for each choice: torch's generators take no larger ones, vLLM no negative ones."""
    if seed is None:
        return None
    digest = hashlib.blake2b(f"{seed}/{choice}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def _chunk(output: Any, top: int | None) -> Chunk:
    completion = output.outputs[0]
    reason = completion.finish_reason
    if reason is not None and reason not in REASONS:
        raise EngineDeadError(f"the engine stopped: vLLM ended the request with {reason!r}")
    ids = list(completion.token_ids)
    logprobs = None
    if top is not None:
        rows: Iterable[dict[int, Any]] = completion.logprobs or []
        logprobs = [_logprob(row, token, top) for row, token in zip(rows, ids, strict=True)]
    return Chunk(ids, reason and REASONS[reason], logprobs, output.num_cached_tokens or 0)


def _logprob(row: dict[int, Any], token: int, top: int) -> TokenLogprob:
    """vLLM puts the chosen token beside the likeliest, where it is not one of them."""
    likeliest = [(other, entry.logprob) for other, entry in row.items() if other != token or len(row) <= top]
    likeliest.sort(key=lambda pair: -pair[1])
    return TokenLogprob(row[token].logprob, likeliest)
