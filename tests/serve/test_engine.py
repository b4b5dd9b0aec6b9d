"""The engine against plain transformers generation, and what happens when things go wrong."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch

from ochat_ray.errors import RequestError
from ochat_ray.serve.engine.engine import Engine, Output
from ochat_ray.serve.engine.limits import Limits
from ochat_ray.serve.engine.request import (
    Chunk,
    EngineDeadError,
    Generation,
    OverloadedError,
    SamplingParams,
)
from ochat_ray.serve.engine.room import BLOCK
from ochat_ray.serve.engine.runner import Outputs, Runner
from ochat_ray.serve.engine.scheduler import Step
from tests.serve.conftest import llama

PATIENCE_S = 60.0


class Collector:
    """Keeps what the engine delivers; `wait` until a condition holds."""

    def __init__(self) -> None:
        self.tokens: dict[int, list[int]] = defaultdict(list)
        self.ends: dict[int, str | EngineDeadError] = {}
        self._changed = threading.Condition()

    def __call__(self, outputs: Sequence[Output]) -> None:
        with self._changed:
            for key, result in outputs:
                if isinstance(result, Chunk):
                    self.tokens[key] += result.token_ids
                    if result.finish_reason:
                        self.ends[key] = result.finish_reason
                else:
                    self.ends[key] = result
            self._changed.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_S), "the engine did not get there"


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner(llama(), cache_tokens=16 * BLOCK)


def limits(**changes: int) -> Limits:
    return Limits(
        **{
            "context": 512,
            "cache_tokens": 16 * BLOCK,
            "max_running": 16,
            "prefill_chunk": 64,
            "max_queued": 64,
            **changes,
        }
    )


@pytest.fixture
def start(runner: Runner) -> Iterator[Callable[..., tuple[Engine, Collector]]]:
    engines = []

    def make(model: Any = runner, stop_ids: frozenset[int] = frozenset(), **changes: int) -> Any:
        collector = Collector()
        engine = Engine(model, limits(**changes), stop_ids=stop_ids, deliver=collector)
        engines.append(engine)
        return engine, collector

    yield make
    for engine in engines:
        engine.close()


def prompts(count: int, longest: int = 150) -> list[list[int]]:
    rng = random.Random(3)
    return [[rng.randrange(2, 400) for _ in range(rng.randrange(1, longest))] for _ in range(count)]


def reference(model: Any, prompt: list[int], count: int) -> list[int]:
    """Greedy tokens by transformers' own `generate`."""
    implementation = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    model.set_attn_implementation(implementation)
    generated: list[int] = out[0, len(prompt) :].tolist()
    return generated


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"max_running": 3, "prefill_chunk": 7},
        {"cache_tokens": 4 * BLOCK},  # requests grow out of the room: preemption and moves
    ],
)
def test_greedy_text_is_that_of_generate_at_any_concurrency(
    runner: Runner, start: Any, changes: dict[str, int]
) -> None:
    engine, got = start(**changes)
    asked = prompts(12)
    counts = [20 + 15 * (i % 5) for i in range(len(asked))]
    keys = [engine.submit(Generation(p, n)) for p, n in zip(asked, counts, strict=True)]
    got.wait(lambda: len(got.ends) == len(keys))
    expected = [reference(runner.model, p, n) for p, n in zip(asked, counts, strict=True)]
    assert [got.tokens[key] for key in keys] == expected
    assert set(got.ends.values()) == {"length"}
    assert engine.stats().free_tokens == engine.stats().cache_tokens


def test_stops_at_the_stop_token_and_says_so(runner: Runner, start: Any) -> None:
    prompt = prompts(1)[0]
    expected = reference(runner.model, prompt, 30)
    engine, got = start(stop_ids=frozenset({expected[12]}))
    key = engine.submit(Generation(prompt, 30))
    got.wait(lambda: key in got.ends)
    first = expected.index(expected[12])
    assert got.tokens[key] == expected[: first + 1]
    assert got.ends[key] == "stop"


def test_a_reply_without_a_limit_ends_with_the_context(start: Any) -> None:
    engine, got = start(context=200)
    key = engine.submit(Generation([5] * 150))
    got.wait(lambda: key in got.ends)
    assert (len(got.tokens[key]), got.ends[key]) == (50, "length")


def test_seeded_sampling_does_not_depend_on_neighbours(start: Any) -> None:
    engine, got = start()
    asked = Generation([7, 8, 9], 40, sampling=SamplingParams(temperature=1.0, top_p=0.95, seed=11))
    alone = engine.submit(asked)
    got.wait(lambda: alone in got.ends)
    crowd = [engine.submit(Generation(p, 40, sampling=SamplingParams(temperature=1.0))) for p in prompts(6)]
    again = engine.submit(asked)
    got.wait(lambda: {again, *crowd} <= set(got.ends))
    assert got.tokens[again] == got.tokens[alone]


def test_an_overlong_prompt_is_refused_with_the_counts_and_hurts_nobody(start: Any) -> None:
    engine, got = start(context=100)
    running = engine.submit(Generation([5] * 20, 30))
    with pytest.raises(RequestError, match="100 tokens") as caught:
        engine.submit(Generation([5] * 100))
    assert caught.value.code == "context_length_exceeded"
    got.wait(lambda: running in got.ends)
    assert len(got.tokens[running]) == 30


def test_the_cache_bounds_the_prompt_where_it_is_smaller_than_the_context(start: Any) -> None:
    engine, _ = start(cache_tokens=BLOCK)
    with pytest.raises(RequestError, match=f"{BLOCK}"):
        engine.submit(Generation([5] * BLOCK))


class Gate:
    """A model that runs a step only when let to, to hold the engine at a known place."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.device = runner.device
        self.steps = threading.Semaphore(0)
        self.arrived = threading.Semaphore(0)
        self.error: Exception | None = None

    def run(self, step: Step) -> Outputs:
        self.arrived.release()
        assert self.steps.acquire(timeout=PATIENCE_S)
        if self.error is not None:
            raise self.error
        return self._runner.run(step)


def test_cancellation_frees_room_within_one_step(runner: Runner, start: Any) -> None:
    gate = Gate(runner)
    engine, got = start(model=gate)
    keys = [engine.submit(Generation([5] * 20, 100)) for _ in range(2)]
    assert gate.arrived.acquire(timeout=PATIENCE_S)
    while engine.stats().running < 2:  # the second may have come after the step was made
        gate.steps.release()
        assert gate.arrived.acquire(timeout=PATIENCE_S)
    assert engine.stats().free_tokens < engine.stats().cache_tokens
    for key in keys:
        engine.cancel(key)
    gate.steps.release()  # the step in which they are running
    deadline = time.monotonic() + PATIENCE_S
    while engine.stats().free_tokens != engine.stats().cache_tokens:
        assert gate.arrived.acquire(blocking=False) is False, "a further step runs for them"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert engine.stats().running == 0
    assert not got.ends
    gate.steps.release(100)


def test_statistics_show_a_request_while_its_first_step_runs(runner: Runner, start: Any) -> None:
    gate = Gate(runner)
    engine, _ = start(model=gate)
    engine.submit(Generation([5] * 300, 2))
    assert gate.arrived.acquire(timeout=PATIENCE_S)
    stats = engine.stats()
    gate.steps.release(100)
    assert (stats.running, stats.waiting) == (1, 0)
    assert stats.free_tokens < stats.cache_tokens


def test_more_than_may_wait_are_turned_away(runner: Runner, start: Any) -> None:
    gate = Gate(runner)
    engine, got = start(model=gate, max_running=2, max_queued=3)
    keys = [engine.submit(Generation([5], 2)) for _ in range(5)]
    with pytest.raises(OverloadedError, match="5 requests"):
        engine.submit(Generation([5], 2))
    gate.steps.release(100)
    got.wait(lambda: len(got.ends) == len(keys))
    engine.submit(Generation([5], 2))


def test_when_the_loop_dies_every_request_hears_of_it_and_health_turns_bad(
    runner: Runner, start: Any
) -> None:
    gate = Gate(runner)
    engine, got = start(model=gate, max_running=2)
    keys = [engine.submit(Generation([5], 10)) for _ in range(4)]  # two of them still wait
    engine.check_health()
    gate.error = RuntimeError("out of memory")
    gate.steps.release(100)
    got.wait(lambda: len(got.ends) == len(keys))
    assert all(isinstance(end, EngineDeadError) for end in got.ends.values())
    for ask in (engine.check_health, engine.stats, lambda: engine.submit(Generation([5]))):
        with pytest.raises(EngineDeadError, match="out of memory"):
            ask()


def test_a_next_turn_after_others_is_still_generate_s_text(runner: Runner, start: Any) -> None:
    engine, got = start()
    history = prompts(1, longest=400)[0] * 3
    for turn in range(3):
        expected = reference(runner.model, history, 25)
        key = engine.submit(Generation(list(history), 25))
        crowd = [engine.submit(Generation(p, 10)) for p in prompts(4)]
        got.wait(lambda ids=(key, *crowd): set(ids) <= set(got.ends))  # type: ignore[misc]
        assert got.tokens[key] == expected, f"turn {turn}"
        history += [*expected, 7, 8, 9 + turn]
    stats = engine.stats()
    assert stats.cached_tokens > len(history)
    assert stats.prompt_tokens > stats.cached_tokens


def test_random_cancels_leave_nothing_behind(start: Any) -> None:
    engine, got = start(cache_tokens=6 * BLOCK, max_queued=1000, max_running=5)
    rng = random.Random(5)
    keys, cancelled = [], set()
    for number in range(120):
        generation = Generation(
            prompts(9, longest=200)[number % 9],
            rng.randrange(1, 60),
            sampling=SamplingParams(temperature=rng.choice([0.0, 1.0]), top_k=rng.choice([0, 5])),
            logprobs=rng.choice([None, 0, 3]),
            pool=rng.random() < 0.1,
        )
        keys.append(engine.submit(generation))
        if rng.random() < 0.5:
            victim = rng.choice(keys)
            engine.cancel(victim)
            cancelled.add(victim)
    got.wait(lambda: set(keys) - cancelled <= set(got.ends))
    deadline = time.monotonic() + PATIENCE_S
    while engine.stats().running or engine.stats().waiting:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert engine.stats().free_tokens == engine.stats().cache_tokens
    assert not engine._live
    known = set(engine._scheduler._prefixes._tokens)
    assert known == set(engine._scheduler.room.idle) == set(engine._scheduler.room.spans)
