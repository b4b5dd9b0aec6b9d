"""Asking an endpoint that is slow, busy, broken or dear: nothing is asked twice, nothing finished is lost."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.responses import PlainTextResponse, Response

from ochat_ray.config.eval import EndpointConfig
from ochat_ray.errors import ConfigError, DataError
from ochat_ray.eval.asking import asker as asking
from ochat_ray.eval.asking.asker import Asker, NotAnswered, each
from ochat_ray.eval.asking.bill import Budget, bill, estimate
from ochat_ray.eval.asking.exchange import Ask, Reply, request_of
from ochat_ray.eval.asking.ledger import Ledger, opened
from tests.eval.scripted import Scripted, cut_off, refused
from tests.listening import listening


def echo(fault: Callable[[int], Response | None] = lambda _: None) -> Scripted:
    return Scripted(lambda body, _: f"to {body['messages'][-1]['content']}", fault)


@contextmanager
def serving(scripted: Scripted, **settings: object) -> Iterator[EndpointConfig]:
    with listening(scripted.api) as url:
        yield EndpointConfig.model_validate({"name": "m", "url": f"{url}/v1", "timeout_s": 5, **settings})


def asks(end: EndpointConfig, number: int) -> list[Ask]:
    return [
        Ask("m", request_of(end, [{"role": "user", "content": str(n)}], temperature=0.5))
        for n in range(number)
    ]


def ask_all(
    end: EndpointConfig, number: int, path: Path, budget: float | None = None
) -> tuple[list[Reply | str], Budget]:
    """Replies, or why there is none, in the order of the requests."""
    found: list[Reply | str] = [""] * number

    async def run(ledger: Ledger) -> Budget:
        limit = Budget(budget, ledger.cost)
        asker = Asker(end, ledger, limit)

        async def one(job: tuple[int, Ask]) -> None:
            place, ask = job
            try:
                found[place] = await asker.ask(ask)
            except NotAnswered as error:
                found[place] = str(error)

        try:
            await each(enumerate(asks(end, number)), one, end.concurrency)
        finally:
            await asker.close()
        return limit

    with opened(path) as ledger:
        return found, asyncio.run(run(ledger))


def texts(found: list[Reply | str]) -> list[str]:
    return [one.text if isinstance(one, Reply) else f"! {one}" for one in found]


def test_replies_are_right_and_come_at_a_time(tmp_path: Path) -> None:
    scripted = echo()
    scripted.delay_s = 0.05
    with serving(scripted, concurrency=8) as end:
        found, _ = ask_all(end, 40, tmp_path / "ledger")
    assert texts(found) == [f"to {n}" for n in range(40)]
    assert scripted.most_running == 8
    assert all(isinstance(one, Reply) and one.input_tokens == 100 and one.seconds > 0 for one in found)


def test_what_the_ledger_knows_is_not_asked(tmp_path: Path) -> None:
    scripted = echo()
    with serving(scripted) as end:
        first, _ = ask_all(end, 10, tmp_path / "ledger")
        again, _ = ask_all(end, 15, tmp_path / "ledger")
        other = end.replace(name="another")
        with opened(tmp_path / "ledger") as ledger:
            assert len(ledger) == 15
            assert ledger.get(Ask(other.name, asks(end, 1)[0].request)) is None
            assert ledger.get(Ask("m", asks(end, 1)[0].request, sample=1)) is None
    assert again[:10] == first and scripted.answered == 15


def test_the_same_request_at_the_same_time_is_asked_once(tmp_path: Path) -> None:
    scripted = echo()
    scripted.delay_s = 0.05

    async def run(end: EndpointConfig, ledger: Ledger) -> list[Reply]:
        asker = Asker(end, ledger, Budget(None))
        found = await asyncio.gather(*(asker.ask(one) for one in asks(end, 3) * 4))
        await asker.close()
        return found

    with serving(scripted) as end, opened(tmp_path / "ledger") as ledger:
        assert texts(list(asyncio.run(run(end, ledger)))) == ["to 0", "to 1", "to 2"] * 4
    assert scripted.answered == 3


def test_a_torn_line_is_asked_again_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    scripted = echo()
    with serving(scripted) as end:
        ask_all(end, 5, path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-20])
        found, _ = ask_all(end, 5, path)
        assert texts(found) == [f"to {n}" for n in range(5)] and scripted.answered == 6
        path.write_bytes(b"{}\n" + whole)
        with pytest.raises(DataError, match=r"ledger:1: not an exchange .*; delete the line"):
            ask_all(end, 5, path)


def test_two_processes_do_not_write_to_one_ledger(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "ledger"),
        pytest.raises(DataError, match="another run writes to it"),
        opened(tmp_path / "ledger"),
    ):
        pass


@pytest.mark.parametrize(
    "fault",
    [
        lambda: refused(429, **{"retry-after": "0.01"}),
        lambda: refused(500),
        lambda: refused(503),
        cut_off,
    ],
    ids=["429", "500", "503", "cut off"],
)
def test_what_fails_for_a_while_is_sent_again(tmp_path: Path, fault: Callable[[], Response]) -> None:
    scripted = echo(lambda call: fault() if call % 3 == 0 else None)
    with serving(scripted, concurrency=4) as end:
        found, _ = ask_all(end, 12, tmp_path / "ledger")
    assert texts(found) == [f"to {n}" for n in range(12)]
    assert scripted.answered == 12 and scripted.calls > 12


def test_a_slow_endpoint_costs_the_slow_requests_only(tmp_path: Path) -> None:
    scripted = echo()
    with serving(scripted, retries=0, concurrency=4) as end:
        ask_all(end, 4, tmp_path / "ledger")
        scripted.delay_s = 30.0
        hasty = end.replace(timeout_s=0.5)
        found, _ = ask_all(hasty, 8, tmp_path / "ledger")
        assert [text.startswith("!") for text in texts(found)] == [False] * 4 + [True] * 4
        assert "no reply within 0.5 s, 1 times" in texts(found)[7]
        scripted.delay_s = 0.0
        assert texts(ask_all(end, 8, tmp_path / "ledger")[0]) == [f"to {n}" for n in range(8)]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            lambda: refused(401),
            r"refuses the key \(401\); put one into the environment variable OPENAI_API_KEY",
        ),
        (lambda: refused(404, "no such model"), "404: no such model"),
    ],
)
def test_what_all_requests_would_be_told_is_asked_once(
    tmp_path: Path, fault: Callable[[], Response], words: str
) -> None:
    scripted = echo(lambda _: fault())
    with serving(scripted, concurrency=2) as end:
        found, _ = ask_all(end, 30, tmp_path / "ledger")
    assert scripted.calls <= 2
    assert all(re.search(words, str(one)) for one in found)


def test_an_endpoint_that_only_fails_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "FAILURES", 5)
    scripted = echo(lambda call: None if call <= 3 else refused(501, "bad <b>words</b>"))
    with serving(scripted, concurrency=1, retries=0) as end:
        found, _ = ask_all(end, 30, tmp_path / "ledger")
        assert [isinstance(one, Reply) for one in found] == [True] * 3 + [False] * 27
        assert scripted.calls == 8
        assert "after 5 failures in a row, the last:" in str(found[-1]) and "bad <b>words</b>" in str(
            found[-1]
        )


def test_what_is_no_completion_is_told(tmp_path: Path) -> None:
    answers = iter([PlainTextResponse("<html>busy</html>"), PlainTextResponse('{"choices": []}')])
    scripted = echo(lambda _: next(answers, None))
    with serving(scripted, concurrency=1) as end:
        found, _ = ask_all(end, 3, tmp_path / "ledger")
    assert texts(found)[2] == "to 2"
    assert all("not a chat completion" in str(one) for one in found[:2])


def test_nobody_there(tmp_path: Path) -> None:
    end = EndpointConfig(name="m", url="http://127.0.0.1:9/v1", retries=0)
    found, _ = ask_all(end, 1, tmp_path / "ledger")
    assert "http://127.0.0.1:9/v1: " in str(found[0])


def test_requests_are_begun_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asking, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(asking, "time", SimpleNamespace(monotonic=lambda: 100.0))
    pace = asking._Pace(120)
    for _ in range(4):
        asyncio.run(pace.next())
    assert slept == [0.0, 0.5, 1.0, 1.5]


def test_the_budget_is_never_passed(tmp_path: Path) -> None:
    scripted = echo()
    # A reply costs 100 * 10 / 1e6 + 10 * 1000 / 1e6 = 0.011, and could cost 0.1 more or less.
    with serving(scripted, input_price=10.0, output_price=1000.0, max_tokens=100, concurrency=8) as end:
        found, budget = ask_all(end, 50, tmp_path / "ledger", budget=0.2)
        done = sum(isinstance(one, Reply) for one in found)
        assert 0.1 < budget.spent <= 0.2 and budget.spent == pytest.approx(0.011 * done)
        assert "a request may cost 0.1002, and of the budget of 0.2 " in str(found[-1])
        # What was paid for earlier counts too, and a higher budget goes on from there.
        found, budget = ask_all(end, 50, tmp_path / "ledger", budget=0.2)
        assert scripted.answered == done
        found, budget = ask_all(end, 50, tmp_path / "ledger", budget=2.0)
        assert scripted.answered == 50 and budget.spent == pytest.approx(0.55)


def test_a_budget_whose_requests_differ_never_waits_for_ever() -> None:
    """Of 0.1, 0.2 and 0.3 less each of them something is left over, in floating point."""

    async def run() -> list[bool]:
        budget = Budget(0.65)

        async def one(most: float) -> bool:
            async with budget.reserved(most) as allowed:
                await asyncio.sleep(0.01)
                return allowed

        return await asyncio.wait_for(asyncio.gather(*map(one, (0.1, 0.2, 0.3, 0.7, 0.6))), 10)

    assert asyncio.run(run()) == [True, True, True, False, True]


def test_what_may_have_been_billed_counts(tmp_path: Path) -> None:
    """A reply without usage, and requests whose replies never came, cost the most they can."""
    prices = {"input_price": 0.0, "output_price": 1000.0, "max_tokens": 100}  # 0.1 a request at most
    scripted = echo()
    scripted.usage = None
    with serving(scripted, concurrency=1, **prices) as end:
        found, budget = ask_all(end, 5, tmp_path / "a", budget=0.25)
        assert sum(isinstance(one, Reply) for one in found) == 2 and budget.spent == pytest.approx(0.2)
    scripted = echo(lambda _: cut_off())
    with serving(scripted, concurrency=1, retries=4, **prices) as end:
        found, budget = ask_all(end, 1, tmp_path / "b", budget=0.25)
        assert scripted.calls == 2 and budget.spent == pytest.approx(0.2)
        _, budget = ask_all(end, 1, tmp_path / "b", budget=0.25)
        assert scripted.calls == 2 and budget.spent == pytest.approx(0.2)  # the ledger knows of them


def test_parameters_of_ones_own_reach_the_endpoint(tmp_path: Path) -> None:
    scripted = echo()
    with serving(scripted, extra={"condition": "Math Correct", "top_p": 0.5}) as end:
        assert texts(ask_all(end, 1, tmp_path / "ledger")[0]) == ["to 0"]
    [body] = map(json.loads, scripted.asked)
    assert (body["condition"], body["top_p"], body["temperature"]) == ("Math Correct", 0.5, 0.5)


def test_requests_that_are_at_fault_do_not_end_the_others(tmp_path: Path) -> None:
    scripted = echo(lambda call: refused(400, "too long") if call <= 30 else None)
    with serving(scripted, concurrency=1) as end:
        found, _ = ask_all(end, 40, tmp_path / "ledger")
    assert [isinstance(one, Reply) for one in found] == [False] * 30 + [True] * 10


def test_the_key_is_told_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret\r\n")
    scripted = echo(lambda _: refused(403, "the key sk-secret may not"))
    with serving(scripted, concurrency=1, retries=0) as end:
        found, _ = ask_all(end, 1, tmp_path / "ledger")
        assert "the key *** may not" in str(found[0])
        monkeypatch.setenv("OPENAI_API_KEY", "sk-\u00fc")
        with pytest.raises(ConfigError, match="environment variable OPENAI_API_KEY") as error:
            ask_all(end, 1, tmp_path / "ledger")
        assert "sk-" not in str(error.value)


def test_odd_replies_are_kept_or_told(tmp_path: Path) -> None:
    scripted = echo()
    contents = [json.loads('"\\ud83d cut"'), [{"type": "text", "text": "a"}], None]
    scripted.say = lambda *_: contents.pop(0)
    scripted.usage = {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}
    scripted.logprobs = [("m", -0.5), ("M", None)]
    with serving(scripted, concurrency=1) as end:
        found, _ = ask_all(end, 3, tmp_path / "ledger")
    assert isinstance(found[0], Reply) and found[0].text == "\ufffd cut"
    assert found[0].top_logprobs == (("m", -0.5),)
    assert "not a chat completion" in str(found[1])
    assert isinstance(found[2], Reply) and found[2].text == ""
    with opened(tmp_path / "ledger") as ledger:
        assert len(ledger) == 2


def test_estimates_and_bills(tmp_path: Path) -> None:
    end = EndpointConfig(name="m", input_price=1.0, output_price=2.0, concurrency=2)
    wanted = [
        Ask("m", request_of(end, [{"role": "user", "content": "x" * 4000}], temperature=0), sample)
        for sample in range(4)
    ]
    with opened(tmp_path / "ledger") as ledger:
        before = estimate(end, wanted, ledger, reply_tokens=500)
        assert (before.requests, before.known, before.input_tokens, before.output_tokens) == (
            4,
            0,
            4000,
            2000,
        )
        assert before.cost == pytest.approx(0.004 + 0.004)
        ledger.add(wanted[0], Reply("a", input_tokens=1000, output_tokens=100, seconds=3.0, cost=0.0012))
        after = estimate(end, wanted, ledger, reply_tokens=500)
        assert (after.requests, after.known, after.output_tokens, after.seconds) == (3, 1, 300, 4.5)
        assert "3 requests (1 more are there already)" in str(after)
        reply = ledger.get(wanted[0])
        assert reply is not None
        assert bill(end, [reply]).cost == pytest.approx(0.0012)


def test_any_text_is_kept(tmp_path: Path) -> None:
    """Lone surrogates come out of JSON, and cannot be written as UTF-8."""
    ask = Ask("m", {"messages": [{"role": "user", "content": json.loads('"\\ud800 \\u00fc"')}]})
    reply = Reply(json.loads('"\\udfff\\n\\u2028"'), top_logprobs=(("m", -0.5),))
    with opened(tmp_path / "ledger") as ledger:
        ledger.add(ask, reply)
    with opened(tmp_path / "ledger") as ledger:
        assert ledger.get(ask) == reply
