"""Which tokens run in the next step. Pure bookkeeping: knows no tensors, threads or text.

Requests are admitted in the order they came, when their prompt fits into the free room. Each step holds
the next token of every request that is generating, and prompt tokens up to a chunk, oldest request first.
When a generating request cannot grow, the youngest one gives its room back and waits at the head of the
queue; its tokens so far are then computed again (recomputation: Kwon et al., PagedAttention, 2023).

What a prompt has in common with an earlier one, or with one that runs, is not computed again: the span of
one that is over is taken on, or the beginning is copied. A prompt whose beginning is being computed by
another at this moment waits for it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from ochat_ray.serve.engine.prefixes import BLOCK, Known, Prefixes
from ochat_ray.serve.engine.room import Move, Room, whole_blocks


@dataclass(slots=True)
class Request:
    """`tokens` is the prompt and what was generated; the cache holds the first `computed` of them.

    `limit` is the longest that `tokens` may become. Of a `pooled` one every token is computed, and none is
    sampled. `cached`: tokens of the prompt that were found in the cache.
    """

    key: int
    tokens: list[int]
    limit: int
    pooled: bool = False
    computed: int = 0
    cached: int = 0


class Work(NamedTuple):
    """Run tokens [start, end) of a request, whose keys and values lie at `offset` in the cache.

    If `end` is the request's length, the token after it is to be sampled.
    """

    request: Request
    start: int
    end: int
    offset: int

    @property
    def samples(self) -> bool:
        return self.end == len(self.request.tokens) and not self.request.pooled


@dataclass(slots=True)
class Step:
    """First the copies inside the cache, then the tokens of all `work` in one forward pass."""

    moves: list[Move] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)


class Scheduler:
    """Call `schedule`, run the step, append the sampled tokens, `remove` what is done; again."""

    def __init__(self, room: Room, *, max_running: int, prefill_chunk: int) -> None:
        self.room = room
        self.max_running = max_running
        self.prefill_chunk = prefill_chunk
        self.running: dict[int, Request] = {}  # in order of admission
        self.waiting: deque[Request] = deque()
        self.preemptions = 0
        self._prefixes = Prefixes()

    @property
    def busy(self) -> bool:
        """Whether there is anything to run."""
        return bool(self.running or self.waiting)

    def add(self, request: Request) -> None:
        """Queue a request. Its `limit` must not exceed the room, or it could never end."""
        assert len(request.tokens) < request.limit <= self.room.capacity
        self.waiting.append(request)

    def remove(self, key: int) -> None:
        """Forget a request that is finished or cancelled, and free its room. Unknown keys are let be."""
        request = self.running.pop(key, None)
        if request is not None:
            self._retire(request)
        else:
            self.waiting = deque(s for s in self.waiting if s.key != key)

    def schedule(self) -> Step:
        """The next step. Never empty while there are requests."""
        step = Step()
        self._grow(step)
        budget = self.prefill_chunk
        decoding: list[Request] = []
        prefilling: list[Request] = []
        for request in self.running.values():
            pending = len(request.tokens) - request.computed
            (decoding if pending == 1 else prefilling).append(request)
        step.work += [self._work(request, 1) for request in decoding]
        for request in prefilling:
            budget -= self._prefill(step, request, budget)
        while budget > 0 and self.waiting and self._admit(step):
            budget -= self._prefill(step, next(reversed(self.running.values())), budget)
        # Admission may have moved spans, so offsets are read last.
        spans = self.room.spans
        step.work = [w._replace(offset=spans[w.request.key].start) for w in step.work]
        step.work.sort(key=lambda work: work.offset)  # as the cache wants its rows
        for work in step.work:
            work.request.computed = work.end
        return step

    def _grow(self, step: Step) -> None:
        """Room for one more token of each running request, at the expense of the youngest."""
        for request in list(self.running.values()):
            while request.key in self.running:
                moves = self._reserve(request)
                if moves is not None:
                    step.moves += moves
                    break
                self._preempt(next(reversed(self.running.values())))

    def _reserve(self, request: Request, spare: int = 0) -> list[Move] | None:
        moves = self.room.reserve(request.key, len(request.tokens) + spare)
        for key in self.room.dropped:
            self._prefixes.remove(key)
        self.room.dropped.clear()
        return moves

    def _preempt(self, request: Request) -> None:
        del self.running[request.key]
        self.room.release(request.key)
        self._prefixes.remove(request.key)
        request.computed = 0
        self.waiting.appendleft(request)
        self.preemptions += 1

    def _retire(self, request: Request) -> None:
        """Keep what was computed of a request that is over, where a prompt could begin with it."""
        if request.pooled or request.computed < BLOCK:
            self.room.release(request.key)
            self._prefixes.remove(request.key)
        else:
            self.room.retire(request.key)
            self._prefixes.add(request.key, request.tokens[: request.computed])

    def _admit(self, step: Step) -> bool:
        request = self.waiting[0]
        known = self._known(request)
        if (
            len(self.running) >= self.max_running
            or whole_blocks(len(request.tokens) + 1) > self.room.free
            or (known is not None and self._is_being_computed(known))
        ):
            return False
        if known is not None and self._take_on(known, request):
            known = None
        moves = self._reserve(request, spare=1)
        assert moves is not None
        step.moves += moves
        if known is not None and known.key in self.room.spans:  # else it gave way just now
            source, target = self.room.spans[known.key].start, self.room.spans[request.key].start
            step.moves.append(Move(source, target, known.tokens))
            request.computed = known.tokens
        request.cached = request.cached or request.computed
        if not request.pooled:
            self._prefixes.add(request.key, list(request.tokens))
        self.running[request.key] = self.waiting.popleft()
        return True

    def _known(self, request: Request) -> Known | None:
        """What the cache holds of a request's beginning; its last token must run, to sample the next."""
        if request.pooled:
            return None
        known = self._prefixes.longest(request.tokens)
        if known is None:
            return None
        self.room.touch(known.key)
        return Known(known.key, min(known.tokens, len(request.tokens) - 1))

    def _is_being_computed(self, known: Known) -> bool:
        return known.key in self.running and self.running[known.key].computed < known.tokens

    def _take_on(self, known: Known, request: Request) -> bool:
        """Whether `request` got the very span: of one that is over, and little else would be lost."""
        span = self.room.spans[known.key]
        if known.key not in self.room.idle or span.size - known.tokens > known.tokens + BLOCK:
            return False
        self._prefixes.remove(known.key)
        self.room.adopt(known.key, request.key)
        request.computed = known.tokens
        return True

    def _prefill(self, step: Step, request: Request, budget: int) -> int:
        count = min(budget, len(request.tokens) - request.computed)
        if count > 0:
            step.work.append(self._work(request, count))
        return count

    def _work(self, request: Request, count: int) -> Work:
        return Work(request, request.computed, request.computed + count, offset=-1)
