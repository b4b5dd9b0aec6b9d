"""The scheduler: order of arrival, bounded steps, and nobody is forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.serve.engine.room import BLOCK, Room
from ochat_ray.serve.engine.scheduler import Request, Scheduler, Step


def scheduler(tokens: int = 16 * BLOCK, max_running: int = 4, prefill_chunk: int = 64) -> Scheduler:
    return Scheduler(Room(tokens), max_running=max_running, prefill_chunk=prefill_chunk)


def request(key: int, prompt: int, reply: int = 10) -> Request:
    return Request(key, [0] * prompt, limit=prompt + reply)


def extend(step: Step) -> None:
    """Stand in for the model: one token for all who sample."""
    for work in step.work:
        if work.samples:
            work.request.tokens.append(0)


@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(1, 200),
)
def test_every_request_finishes_with_every_token_computed_in_order(
    sizes: list[tuple[int, int]], max_running: int, chunk: int
) -> None:
    # Room for one request of the largest size, so that growth and preemption happen.
    s = scheduler(tokens=5 * BLOCK, max_running=max_running, prefill_chunk=chunk)
    requests = [request(key, prompt, reply) for key, (prompt, reply) in enumerate(sizes)]
    for one in requests:
        s.add(one)
    cached: dict[int, int] = {}
    finished = []
    while s.busy:
        step = s.schedule()
        assert step.work
        prompt_tokens = sum(w.end - w.start for w in step.work if w.end - w.start > 1)
        assert prompt_tokens <= chunk
        assert len(s.running) <= max_running
        for work in step.work:
            key = work.request.key
            assert work.start in (cached.get(key, 0), 0), "tokens run once, or again from the beginning"
            cached[key] = work.end
            span = s.room.spans[key]
            assert work.offset == span.start and work.end <= span.size
        extend(step)
        for one in requests:
            if len(one.tokens) == one.limit and one.key in s.running:
                s.remove(one.key)
                finished.append(one.key)
    assert sorted(finished) == [one.key for one in requests]
    assert s.room.free == s.room.capacity


def test_admits_in_order_of_arrival_even_if_a_later_one_would_fit() -> None:
    s = scheduler(tokens=4 * BLOCK)
    s.add(request(0, 2 * BLOCK))
    s.add(request(1, 3 * BLOCK))
    s.add(request(2, 5))
    for _ in range(20):
        extend(s.schedule())
    assert list(s.running) == [0]
    s.remove(0)
    s.schedule()
    assert next(iter(s.running)) == 1


def test_a_long_prompt_does_not_stall_those_who_generate() -> None:
    s = scheduler(prefill_chunk=16)
    s.add(request(0, 4))
    extend(s.schedule())
    s.add(request(1, 200))
    for _ in range(5):
        step = s.schedule()
        assert [(w.request.key, w.end - w.start) for w in step.work] == [(0, 1), (1, 16)]
        extend(step)


def test_cancellation_frees_room_at_once_wherever_the_request_is() -> None:
    s = scheduler(tokens=4 * BLOCK, max_running=1)
    s.add(request(0, 100))
    s.add(request(1, 100))
    s.schedule()
    s.remove(1)  # still waits
    s.remove(0)  # in the middle of its prompt
    s.remove(0)  # twice does no harm
    assert not s.busy
    assert s.room.free == s.room.capacity


def test_the_youngest_gives_way_and_keeps_its_place_in_the_queue() -> None:
    s = scheduler(tokens=2 * BLOCK, prefill_chunk=1000)
    for key in (0, 1):
        s.add(request(key, BLOCK - 2, reply=40))
    s.add(request(2, 5))
    for _ in range(4):
        extend(s.schedule())
    assert list(s.running) == [0]
    assert [one.key for one in s.waiting] == [1, 2]
    assert len(s.waiting[0].tokens) > BLOCK - 2, "what it has generated is kept"
