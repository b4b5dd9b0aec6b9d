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


class Memory:
    """Stands in for the cache: which token each place holds."""

    def __init__(self, size: int) -> None:
        self.places: list[int | None] = [None] * size

    def run(self, step: Step) -> None:
        for source, target, size in step.moves:
            self.places[target : target + size] = self.places[source : source + size]
        for work in step.work:
            tokens, offset = work.request.tokens, work.offset
            assert self.places[offset : offset + work.start] == tokens[: work.start], (
                "what is not run is there"
            )
            self.places[offset + work.start : offset + work.end] = tokens[work.start : work.end]


# Few beginnings and few tokens, so that many prompts begin alike.
PROMPTS = st.tuples(st.integers(0, 2), st.integers(0, 250), st.lists(st.integers(1, 2), max_size=80)).map(
    lambda made: [made[0]] * made[1] + [*made[2], 3]
)


@given(
    st.lists(st.tuples(PROMPTS, st.integers(1, 300), st.integers(0, 40)), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(1, 200),
    st.data(),
)
def test_every_request_finishes_over_the_right_keys_and_values(
    asked: list[tuple[list[int], int, int]], max_running: int, chunk: int, data: st.DataObject
) -> None:
    # Room for one request of the largest size, so that growth, preemption and dropping happen.
    s = scheduler(tokens=6 * BLOCK, max_running=max_running, prefill_chunk=chunk)
    memory = Memory(s.room.capacity)
    requests = [
        Request(key, list(prompt), limit=len(prompt) + reply) for key, (prompt, reply, _) in enumerate(asked)
    ]
    arrivals = sorted(requests, key=lambda one: asked[one.key][2])  # after so many steps
    finished: set[int] = set()
    steps = 0
    while s.busy or arrivals:
        while arrivals and (asked[arrivals[0].key][2] <= steps or not s.busy):
            s.add(arrivals.pop(0))
        step = s.schedule()
        steps += 1
        assert step.work
        assert sum(w.end - w.start for w in step.work if w.end - w.start > 1) <= chunk
        assert len(s.running) <= max_running
        memory.run(step)
        for work in step.work:
            assert work.end <= s.room.spans[work.request.key].size
            if work.samples:
                work.request.tokens.append(data.draw(st.integers(1, 2)) if steps < 50 else 1)
        for one in list(s.running.values()):
            if len(one.tokens) == one.limit:
                s.remove(one.key)
                finished.add(one.key)
    assert finished == {one.key for one in requests}
    assert s.room.free == s.room.capacity


def finish(s: Scheduler, one: Request) -> list[int]:
    """Run until a request is over; gives the number of tokens of each step."""
    s.add(one)
    counts = []
    while one.key in s.running or one in s.waiting:
        step = s.schedule()
        counts += [work.end - work.start for work in step.work if work.request is one]
        extend(step)
        if len(one.tokens) == one.limit:
            s.remove(one.key)
    return counts


def test_the_next_turn_runs_only_its_new_tokens() -> None:
    s = scheduler(prefill_chunk=1000)
    first = Request(0, list(range(300)), limit=310)
    assert sum(finish(s, first)) == 309
    turn = [*first.tokens, *range(400, 420)]
    second = Request(1, list(turn), limit=len(turn) + 1)
    assert finish(s, second) == [21]  # the last token of the reply was never run
    assert second.cached == 309
    assert list(s.room.spans) == [1], "the very span was taken on"


def test_a_short_common_beginning_is_copied_and_the_long_conversation_kept() -> None:
    s = scheduler(prefill_chunk=1000)
    system = list(range(100))
    finish(s, Request(0, [*system, *range(500, 1000)], limit=601))
    other = Request(1, [*system, *range(2000, 2050)], limit=151)
    finish(s, other)
    assert other.cached == 100
    assert set(s.room.spans) == {0, 1}


def test_choices_of_one_prompt_compute_it_once() -> None:
    s = scheduler(prefill_chunk=64)
    choices = [Request(key, list(range(200)), limit=203) for key in range(3)]
    for one in choices:
        s.add(one)
    total = 0
    while s.busy:
        step = s.schedule()
        total += sum(work.end - work.start for work in step.work)
        extend(step)
        for one in choices:
            if len(one.tokens) == one.limit and one.key in s.running:
                s.remove(one.key)
    assert total == 200 + 2 + 2 * 3


def test_what_is_kept_gives_way_to_new_requests() -> None:
    s = scheduler(tokens=4 * BLOCK, prefill_chunk=1000)
    for key in range(3):
        finish(s, Request(key, [key] * (2 * BLOCK - 5), limit=2 * BLOCK))
    assert set(s.room.spans) == {1, 2}, "the oldest went first"
    finish(s, Request(3, [9] * (4 * BLOCK - 5), limit=4 * BLOCK))
    assert set(s.room.spans) == {3}


def test_pooled_requests_run_every_token_and_leave_nothing() -> None:
    s = scheduler(prefill_chunk=64)
    finish(s, Request(0, list(range(100)), limit=110))
    pooled = Request(1, list(range(100)), limit=101, pooled=True)
    s.add(pooled)
    works = [work for _ in range(2) for work in s.schedule().work]
    assert [(work.start, work.end, work.samples) for work in works] == [(0, 64, False), (64, 100, False)]
    s.remove(1)
    assert set(s.room.spans) == {0}


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
