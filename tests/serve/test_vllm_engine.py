"""vLLM behind our engine's interface, where vLLM is installed: `pip install ochat-ray[vllm]`.

On a machine without a GPU that is the CPU build, in an environment of its own.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch

from ochat_ray.errors import CheckpointError, ConfigError, RequestError
from ochat_ray.exported import Exported, load_exported, write_chat_files
from ochat_ray.model_types import load_model_type
from ochat_ray.serve.engine.request import (
    Chunk,
    EngineDeadError,
    Generation,
    OverloadedError,
    SamplingParams,
)
from ochat_ray.serve.vllm_engine import VllmEngine
from ochat_ray.template import ChatTemplate
from tests.serve.conftest import llama, make_tokenizer

T = TypeVar("T")
INSTALLED = importlib.util.find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(not INSTALLED, reason="needs vLLM: pip install ochat-ray[vllm]")
PATIENCE_S = 60.0
LONGEST = 512
CACHE = 4096


def load(folder: Path, stop_ids: frozenset[int] = frozenset(), **changes: Any) -> VllmEngine:
    settings: dict[str, Any] = {
        "dtype": "float32",
        "cache_tokens": CACHE,
        "max_running": 8,
        "prefill_chunk": 64,
        "longest": LONGEST,
        "max_queued": 4,
        **changes,
    }
    return VllmEngine.load(folder, stop_ids=stop_ids, **settings)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """One event loop for all requests, as in a replica."""
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        patch.setenv("VLLM_CPU_CI_ENV", "1")  # traces, but does not compile: a minute less
        patch.setenv("VLLM_LOGGING_LEVEL", "WARNING")
        yield runner


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """As `model_dir`, but with heads of 32, the smallest that vLLM attends with on a CPU."""
    folder = tmp_path_factory.mktemp("vllm") / "model"
    tokenizer = make_tokenizer()
    model = llama(vocab_size=tokenizer.vocab_size, num_attention_heads=2, num_key_value_heads=1)
    model.save_pretrained(folder)
    write_chat_files(folder, ChatTemplate(load_model_type("openchat"), tokenizer), facts={})
    return load_exported(folder)


@pytest.fixture(scope="module")
def engine(exported: Exported, loop: asyncio.Runner) -> Iterator[VllmEngine]:  # noqa: ARG001
    engine = load(exported.folder)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def ask(engine: VllmEngine, loop: asyncio.Runner) -> Callable[..., list[Chunk]]:
    """The joined chunks of requests that run together."""

    def run(*generations: Generation) -> list[Chunk]:
        async def together() -> list[Chunk]:
            return await asyncio.gather(*(joined(engine, one) for one in generations))

        return loop.run(within(together()))

    return run


async def within(work: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(PATIENCE_S):
        return await work


async def joined(engine: VllmEngine, generation: Generation) -> Chunk:
    chunks = [chunk async for chunk in engine.generate(generation)]
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert len(chunks) == 1 or not generation.hold
    ids = [token for chunk in chunks for token in chunk.token_ids]
    logprobs = [one for chunk in chunks for one in chunk.logprobs or []]
    return Chunk(ids, chunks[-1].finish_reason, logprobs or None, chunks[0].cached_tokens)


@pytest.fixture(scope="module")
def model(exported: Exported) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(exported.folder, dtype=torch.float32)


def reference(model: Any, prompt: list[int], count: int) -> list[int]:
    """Greedy tokens by transformers' own `generate`."""
    ids = torch.tensor([prompt])
    mask = torch.ones_like(ids)
    out = model.generate(
        ids, attention_mask=mask, max_new_tokens=count, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    generated: list[int] = out[0, len(prompt) :].tolist()
    return generated


def prompts(count: int, longest: int = 150) -> list[list[int]]:
    rng = random.Random(3)
    return [[rng.randrange(2, 280) for _ in range(rng.randrange(1, longest))] for _ in range(count)]


def sampled(seed: int | None, choice: int = 0, count: int = 24) -> Generation:
    return Generation([7, 8, 9], count, sampling=SamplingParams(temperature=1.0, seed=seed, choice=choice))


@pytest.mark.skipif(INSTALLED, reason="vLLM is installed")
def test_without_vllm_the_error_says_what_to_install(model_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"pip install ochat-ray\[vllm\]"):
        load(model_dir)


@needs_vllm
def test_greedy_tokens_are_those_of_generate(ask: Any, model: Any) -> None:
    asked = prompts(12)
    counts = [20 + 15 * (i % 5) for i in range(len(asked))]
    got = ask(*(Generation(p, n) for p, n in zip(asked, counts, strict=True)))
    assert [one.token_ids for one in got] == [
        reference(model, p, n) for p, n in zip(asked, counts, strict=True)
    ]
    assert {one.finish_reason for one in got} == {"length"}


@needs_vllm
def test_a_held_request_comes_in_one_chunk(ask: Any, model: Any) -> None:
    [got] = ask(Generation([5, 6, 7], 30, hold=True, logprobs=1))
    assert got.token_ids == reference(model, [5, 6, 7], 30)
    assert len(got.logprobs) == 30


@needs_vllm
def test_ends_at_a_stop_token_which_is_part_of_the_reply_but_not_before_min_tokens(
    ask: Any, model: Any
) -> None:
    prompt = prompts(1)[0]
    expected = reference(model, prompt, 30)
    stop = expected[12]
    at = expected.index(stop)
    stopped, later = ask(
        Generation(prompt, 30, stop_ids=frozenset({stop})),
        Generation(prompt, 30, stop_ids=frozenset({stop}), min_tokens=at + 3),
    )
    assert (stopped.token_ids, stopped.finish_reason) == (expected[: at + 1], "stop")
    assert later.token_ids[:at] == expected[:at]
    assert stop not in later.token_ids[: at + 3]


@needs_vllm
def test_the_end_token_of_the_engine_stops_and_no_other(exported: Exported, ask: Any) -> None:
    """The folder names an end token too, but only the engine's count."""
    end = exported.template.eot_id
    [got] = ask(Generation([5], 5, sampling=SamplingParams(logit_bias={end: 100.0})))
    assert (got.token_ids, got.finish_reason) == ([end] * 5, "length")


@needs_vllm
def test_a_reply_without_a_limit_ends_with_the_context(ask: Any) -> None:
    [got] = ask(Generation([5] * (LONGEST - 50)))
    assert (len(got.token_ids), got.finish_reason) == (50, "length")


@needs_vllm
def test_equal_seeds_draw_equally_beside_others_and_differently_for_each_choice(ask: Any) -> None:
    [alone] = ask(sampled(11))
    again, second, other, *_ = ask(sampled(11), sampled(11, choice=1), sampled(-12), *[sampled(None)] * 4)
    assert again.token_ids == alone.token_ids
    assert len({tuple(one.token_ids) for one in (again, second, other)}) == 3


@needs_vllm
@pytest.mark.parametrize(
    "narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}, {"temperature": 0.0, "top_k": 7}]
)
def test_narrow_sampling_is_greedy(ask: Any, model: Any, narrow: dict[str, float]) -> None:
    sampling = SamplingParams(**{"temperature": 1.5, "seed": 3, **narrow})  # type: ignore[arg-type]
    [got] = ask(Generation([5, 6], 20, sampling=sampling))
    assert got.token_ids == reference(model, [5, 6], 20)


@needs_vllm
def test_bias_and_penalties_change_the_choice(ask: Any, model: Any) -> None:
    first = reference(model, [5, 6], 1)[0]
    banned, biased, frequency, presence, repetition = ask(
        Generation([5, 6], 20, sampling=SamplingParams(logit_bias={first: -100.0})),
        Generation([5, 6], 20, sampling=SamplingParams(logit_bias={first: 100.0})),
        Generation([5, 6], 20, sampling=SamplingParams(logit_bias={first: 100.0}, frequency_penalty=2.0)),
        Generation([5, 6], 20, sampling=SamplingParams(presence_penalty=2.0)),
        Generation([5, 6], 20, sampling=SamplingParams(repetition_penalty=1e6)),
    )
    assert first not in banned.token_ids
    assert biased.token_ids == [first] * 20
    assert frequency.token_ids[0] == first
    assert presence.finish_reason == "length"
    assert len(set(repetition.token_ids)) == 20  # nothing twice


@needs_vllm
def test_logprobs_are_the_models_own(ask: Any, model: Any) -> None:
    sampling = SamplingParams(temperature=1.7, seed=5, logit_bias={9: 3.0})
    prompt = prompts(1)[0]
    got, chosen = ask(
        Generation(prompt, 12, sampling=sampling, logprobs=3),
        Generation(prompt, 12, sampling=sampling, logprobs=0),
    )
    ids = got.token_ids
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1)
    assert len(got.logprobs) == len(ids) == 12
    for row, token, one in zip(expected, ids, got.logprobs, strict=True):
        assert math.isclose(one.logprob, row[token].item(), abs_tol=1e-3)
        values, tokens = row.topk(3)
        assert [other for other, _ in one.top] == tokens.tolist()
        assert torch.allclose(torch.tensor([value for _, value in one.top]), values, atol=1e-3)
    assert chosen.token_ids == ids
    assert [one.top for one in chosen.logprobs] == [[]] * 12


@needs_vllm
def test_the_second_time_a_prompt_is_cached(ask: Any, engine: VllmEngine) -> None:
    prompt = list(range(20, 220)) + list(range(20, 120))
    before = engine.stats()
    [first] = ask(Generation(prompt, 4))
    [second] = ask(Generation(prompt, 4))
    after = engine.stats()
    assert first.cached_tokens == 0
    assert 128 <= second.cached_tokens < len(prompt)  # whole blocks
    assert first.token_ids == second.token_ids
    assert after.prompt_tokens - before.prompt_tokens == 2 * len(prompt)
    assert after.cached_tokens - before.cached_tokens == second.cached_tokens
    assert after.generated_tokens - before.generated_tokens == 8


@needs_vllm
def test_a_reply_follows_a_schema(ask: Any, exported: Exported) -> None:
    end, decode = exported.template.eot_id, exported.template.tokenizer.decode
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "of": {"enum": ["tea", "milk"]}},
        "required": ["ok", "of"],
        "additionalProperties": False,
    }
    blank = [token for token in range(exported.template.tokenizer.vocab_size) if not decode([token]).strip()]
    sampling = SamplingParams(temperature=1.0, logit_bias={token: -100.0 for token in blank if token != end})
    [got] = ask(
        Generation([5, 6], 200, sampling=sampling, json_schema=json.dumps(schema), stop_ids=frozenset({end}))
    )
    assert got.finish_reason == "stop"
    assert got.token_ids[-1] == end
    reply = json.loads(decode(got.token_ids[:-1]))
    assert reply["ok"] in (True, False)
    assert reply["of"] in ("tea", "milk")
    [free] = ask(Generation([5, 6], 30, json_schema="", sampling=sampling))
    assert decode(free.token_ids).lstrip().startswith("{")


@needs_vllm
@pytest.mark.parametrize(
    ("generation", "message"),
    [
        (Generation([5] * LONGEST), "512 tokens"),
        (Generation([5], sampling=SamplingParams(temperature=9.0)), "temperature"),
        (Generation([5], sampling=SamplingParams(logit_bias={10**6: 1.0})), "logit_bias"),
        (Generation([5], json_schema="{"), "grammar"),
        (Generation([5], logprobs=10**4), "logprobs"),
        (Generation([5], pool=True), "embeddings"),
    ],
)
def test_what_cannot_be_answered_is_refused_and_hurts_nobody(
    ask: Any, generation: Generation, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        ask(generation)
    assert len(ask(Generation([5, 6], 3))[0].token_ids) == 3


@needs_vllm
def test_closing_the_generator_ends_the_work(engine: VllmEngine, loop: asyncio.Runner) -> None:
    async def start_and_leave() -> int:
        before = engine.stats().generated_tokens
        async with aclosing(engine.generate(Generation([5] * 20, 480))) as chunks:
            await anext(chunks)
            assert (engine.stats().running, engine.stats().waiting) == (1, 0)
            assert engine.stats().free_tokens < engine.stats().cache_tokens
        deadline = time.monotonic() + PATIENCE_S
        while engine.stats().running or engine.stats().waiting:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        return engine.stats().generated_tokens - before

    assert loop.run(within(start_and_leave())) < 400
    assert engine.stats().free_tokens == engine.stats().cache_tokens >= CACHE


@needs_vllm
def test_more_than_may_wait_are_turned_away(engine: VllmEngine, loop: asyncio.Runner) -> None:
    async def crowd() -> list[Any]:
        asked = (joined(engine, Generation([5], 200)) for _ in range(13))
        return await asyncio.gather(*asked, return_exceptions=True)

    got = loop.run(within(crowd()))
    assert [type(one) for one in got].count(OverloadedError) == 1
    assert sum(isinstance(one, Chunk) and len(one.token_ids) == 200 for one in got) == 12


@needs_vllm
def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, loop: asyncio.Runner) -> None:  # noqa: ARG001
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="cannot serve"):
        load(tmp_path)


@needs_vllm
def test_heads_that_vllm_cannot_attend_with_are_refused(model_dir: Path, loop: asyncio.Runner) -> None:  # noqa: ARG001
    if torch.cuda.is_available():
        pytest.skip("the sizes are those of vLLM on a CPU")
    with pytest.raises(CheckpointError, match="heads of 16"):
        load(model_dir)


@needs_vllm
def test_when_vllm_dies_every_request_hears_of_it(exported: Exported, loop: asyncio.Runner) -> None:
    engine = load(exported.folder)

    async def kill_while_running() -> list[Any]:
        asked = [asyncio.create_task(joined(engine, Generation([5] * 9, 480))) for _ in range(3)]
        while not engine.stats().running:
            await asyncio.sleep(0.001)
        engine._llm.engine_core.resources.engine_manager.processes[0].kill()
        return await asyncio.gather(*asked, return_exceptions=True)

    got = loop.run(within(kill_while_running()))
    assert [type(one) for one in got] == [EngineDeadError] * 3
    for call in (engine.check_health, engine.stats):
        with pytest.raises(EngineDeadError):
            call()
    with pytest.raises(EngineDeadError):
        loop.run(joined(engine, Generation([5])))
    engine.close()
