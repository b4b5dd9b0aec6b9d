"""Whole evaluations against scripted models and judges, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ochat_ray.cli import main
from ochat_ray.eval.records import Judgment, read_records
from ochat_ray.eval.statistics.pairs import pair_figures
from tests.eval.scripted import Scripted, cut_off, judge, model, refused
from tests.listening import listening

QUESTIONS, TURNS = 16, 24
"""Of the shipped set."""
PATIENCE_S = 60.0


@pytest.fixture
def served() -> Iterator[Callable[[Scripted], str]]:
    """Serve a scripted endpoint; gives its base URL."""
    with ExitStack() as stack:
        yield lambda scripted: f"{stack.enter_context(listening(scripted.api))}/v1"


def settings(models: dict[str, str], judges: dict[str, str], **more: Any) -> list[str]:
    """Overrides for models and judges by their names and URLs."""
    ends = {
        "models": [{"name": name, "url": url} for name, url in models.items()],
        "judges": [
            {"name": name, "url": url, "retries": 1, "concurrency": 4} for name, url in judges.items()
        ],
        **more,
    }
    return [f"eval.{key}={json.dumps(value)}" for key, value in ends.items()]


def until_answered(scripted: Scripted, replies: int, running: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while scripted.answered < replies:
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.01)


def judgments(output: Path) -> list[Judgment]:
    return list(read_records(Judgment, output / "judgments.jsonl"))


def test_both_orders_cancel_the_bias_of_position_and_samples_narrow_the_interval(
    served: Callable[[Scripted], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two equally good models before a judge who gives the first shown 1.5 more, and is noisy."""
    models = {name: served(Scripted(model(6.0))) for name in ("mine", "theirs")}
    judging = Scripted(judge(bias=1.5, noise=1.5))
    words = settings(models, {"judge": served(judging)}, baseline="theirs", samples=8)
    assert main(["eval", "run", str(tmp_path / "out"), *words]) == 0
    assert judging.answered == TURNS * 2 * 8
    found = judgments(tmp_path / "out")
    both = pair_figures(found)
    assert both.percent_of_baseline is not None and both.first_preferred is not None
    alone = {order: pair_figures([one for one in found if one.swapped is order]) for order in (False, True)}
    first, second = (alone[order].win_rate_adjusted.value for order in (False, True))
    assert first > 75 and second < 25 and 35 < both.win_rate_adjusted.value < 65
    assert both.first_preferred.low > 60
    one = pair_figures([one for one in found if one.sample == 0]).percent_of_baseline
    assert one is not None
    assert both.percent_of_baseline.high - both.percent_of_baseline.low < one.high - one.low
    out = capsys.readouterr().out
    assert "16 answers" not in out and "32 answers and 384 judgments" in out


def test_nothing_is_asked_twice_after_a_kill(served: Callable[[Scripted], str], tmp_path: Path) -> None:
    judging = Scripted(judge(0, 1))
    judging.delay_s = 0.05
    models = {name: served(Scripted(model(6.0))) for name in ("mine", "theirs")}
    words = settings(models, {"judge": served(judging)}, baseline="theirs")
    command = [sys.executable, "-m", "ochat_ray", "eval", "run", str(tmp_path / "out"), *words]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until_answered(judging, 20, running)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    judging.delay_s = 0.0
    lines = map(json.loads, (tmp_path / "out/exchanges.jsonl").read_text().splitlines())
    kept = [json.dumps(one["request"], sort_keys=True) for one in lines if one["name"] == "judge"]
    assert len(kept) >= 12 and not (tmp_path / "out/judgments.jsonl").exists()
    assert main(["eval", "run", str(tmp_path / "out"), *words]) == 0
    assert {judging.asked[one] for one in kept} == {1}  # what was on its way is asked again, nothing else
    assert sum(number > 1 for number in judging.asked.values()) <= 4
    assert len(judging.asked) == len(judgments(tmp_path / "out")) == TURNS * 2
    answered = judging.answered
    assert main(["eval", "run", str(tmp_path / "out"), *words]) == 0
    assert judging.answered == answered


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda: refused(429, "too many", **{"retry-after": "0.01"}), "429: too many"),
        (lambda: refused(500, "broken"), "500: broken"),
        (cut_off, "peer closed connection"),
    ],
    ids=["429", "500", "cut off"],
)
def test_a_failing_judge_costs_no_finished_work_and_is_told(
    served: Callable[[Scripted], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    fault: Callable[[], Any],
    words: str,
) -> None:
    judging = Scripted(judge(0, 1), lambda call: fault() if call > 10 else None)
    models = {name: served(Scripted(model(6.0))) for name in ("mine", "theirs")}
    command = ["eval", "run", str(tmp_path / "out"), *settings(models, {"judge": served(judging)})]
    assert main(command) == 1
    out = capsys.readouterr().out
    assert words in out and "missing  " in out and "the same command asks for them only" in out
    missing = [json.loads(line) for line in (tmp_path / "out/missing.jsonl").read_text().splitlines()]
    assert len(missing) == TURNS * 2 - 10
    assert {"mine against theirs" in one["what"] for one in missing} == {True}
    assert len(judgments(tmp_path / "out")) == 10
    judging.fault = lambda _: None
    before = judging.answered
    assert main(command) == 0
    assert judging.answered - before == TURNS * 2 - 10
    assert (tmp_path / "out/missing.jsonl").read_text() == ""


def test_nonsense_is_unparsed_and_not_zero_and_may_be_asked_again(
    served: Callable[[Scripted], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judging = Scripted(lambda *_: "I like both, 10 out of 10 <script>alert(1)</script>")
    models = {name: served(Scripted(model(6.0))) for name in ("mine", "theirs")}
    out = str(tmp_path / "out")
    assert main(["eval", "run", out, *settings(models, {"judge": served(judging)})]) == 1
    found = judgments(tmp_path / "out")
    assert len(found) == TURNS * 2 and {one.value for one in found} == {None}
    told = capsys.readouterr().out
    assert "48 of 48 judgments could not be understood, the first of judge: 'I like both, 10 out" in told
    judging.say = judge(0, 1)
    assert main(["eval", "run", out]) == 1  # by the settings in the folder, and nothing new is asked
    assert judging.answered == TURNS * 2
    assert main(["eval", "judge", out, "--unread"]) == 0
    assert judging.answered == TURNS * 4
    assert main(["eval", "report", out]) == 0
    assert not any(one.value is None for one in judgments(tmp_path / "out"))


def test_other_settings_over_the_same_replies(served: Callable[[Scripted], str], tmp_path: Path) -> None:
    """Another baseline, every pair: what is known is not asked, and a report asks for nothing."""
    judging = Scripted(judge(0, 1))
    models = {name: served(Scripted(model(6.0))) for name in ("mine", "theirs", "third")}
    ends = {"judge": served(judging)}
    out = str(tmp_path / "out")
    assert main(["eval", "answer", out, *settings(models, ends)]) == 0
    assert judging.answered == 0
    assert main(["eval", "judge", out, *settings(models, ends, baseline="theirs")]) == 0
    assert judging.answered == TURNS * 2 * 2
    assert main(["eval", "report", out, *settings(models, ends, baseline="theirs")]) == 0
    assert main(["eval", "report", out, *settings(models, ends)]) == 0  # every pair: one is not asked yet
    missing = [json.loads(line) for line in (tmp_path / "out/missing.jsonl").read_text().splitlines()]
    assert len(missing) == TURNS * 2 and {one["why"] for one in missing} == {"not asked yet"}
    assert judging.answered == TURNS * 2 * 2


def test_grades(served: Callable[[Scripted], str], tmp_path: Path) -> None:
    judging = Scripted(lambda body, _: f"fine [[{5 + len(body['messages'][1]['content']) % 2}]]")
    words = settings({"mine": served(Scripted(model(6.0)))}, {"judge": served(judging)}, prompt="grade")
    assert main(["eval", "run", str(tmp_path / "out"), *words]) == 0
    found = judgments(tmp_path / "out")
    assert len(found) == TURNS and {one.value for one in found} <= {5.0, 6.0}
    assert all(one.baseline is None and one.against is None for one in found)


def test_preferences_from_probabilities(served: Callable[[Scripted], str], tmp_path: Path) -> None:
    judging = Scripted(lambda *_: "m")
    judging.logprobs = [("m", -0.105360516), ("M", -2.302585093)]  # 0.9 and 0.1
    models = {name: served(Scripted(model(6.0))) for name in ("mine", "theirs")}
    words = settings(models, {"judge": served(judging)}, prompt="preference", orders="drawn")
    assert main(["eval", "run", str(tmp_path / "out"), *words]) == 0
    found = judgments(tmp_path / "out")
    assert len(found) == TURNS
    for one in found:
        assert one.value == pytest.approx(0.1 if one.swapped else 0.9, abs=1e-6)
    assert {one.swapped for one in found} == {False, True}


def test_an_estimate_asks_nothing(
    served: Callable[[Scripted], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted = Scripted(model(6.0))
    url = served(scripted)
    ends = [{"name": name, "url": url} for name in ("mine", "theirs")]
    judges = [{"name": "judge", "url": url, "input_price": 10, "output_price": 30}]
    words = [f"eval.models={json.dumps(ends)}", f"eval.judges={json.dumps(judges)}"]
    assert main(["eval", "run", str(tmp_path / "out"), "--estimate", *words]) == 0
    out = capsys.readouterr().out
    assert scripted.calls == 0 and not (tmp_path / "out").exists()
    assert "mine: 24 requests" in out and "judge: 48 requests" in out and "about 1.07" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "nothing to evaluate: name models in eval.models"),
        (["eval.models=[{name: a}]"], "no judge: name one in eval.judges"),
        (["eval.models=[{name: a}]", "eval.judges=[{name: j}]"], "there is one model, a"),
        (["eval.models=[{name: a}, {name: b}]", "eval.judges=[{name: j}]", "eval.baseline=c"],
         "eval.baseline = 'c': no such model; there are a, b"),
        (["eval.models=[{name: a}, {name: a}]"], "a is named twice"),
        (["eval.models=[{name: a, ulr: x}]"], "unknown key `eval.models.0.ulr`"),
        (["eval.models=[{name: a, url: x}]"], "expected a base URL such as"),
        (["eval.models=[{name: a, extra: {model: x}}]"], "model of a request is set by the evaluation"),
        (["eval.models=[{name: a}]", "eval.judges=[{name: j}]", "eval.budget=5"], "budget needs prices"),
        (["eval.models=[{name: a}]", "eval.judges=[{name: j, folder: x}]"], "j is a folder; serve it"),
        (["eval.models=[{name: a}]", "eval.questions=none.jsonl"], "none.jsonl: cannot be read"),
        (["eval.models=[{name: a}]", "eval.prompt=scroe"], "did you mean `score`?"),
        (["eval.models=[{name: a}]", "eval.answers=[none.jsonl]"], "none.jsonl: cannot be read"),
        (["eval.models=[{name: a, folder: x, url: 'http://h/v1'}]"], "folder and url are two ways"),
        (["eval.models=[{name: a, url: 'https://h.invalid/v1', key_env: NO_SUCH}]", "eval.prompt=grade",
          "eval.judges=[{name: j}]"], "a: the environment variable NO_SUCH is not set"),
    ],
)  # fmt: skip
def test_wrong_settings_are_told_before_anything_is_asked(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "run", str(tmp_path / "out"), *words]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_interrupted_evaluation_tells_what_there_is(
    served: Callable[[Scripted], str], tmp_path: Path
) -> None:
    judging = Scripted(judge(0, 1))
    judging.delay_s = 0.05
    models = {name: served(Scripted(model(6.0))) for name in ("mine", "theirs")}
    words = settings(models, {"judge": served(judging)})
    command = [sys.executable, "-m", "ochat_ray", "eval", "run", str(tmp_path / "out"), *words]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until_answered(judging, 12, running)
    running.send_signal(signal.SIGINT)
    assert "Run the same command again to go on" in running.communicate(timeout=PATIENCE_S)[1]
    assert running.returncode == 130
    missing = (tmp_path / "out/missing.jsonl").read_text().count("\n")
    assert missing and missing + len(judgments(tmp_path / "out")) == TURNS * 2


def test_refusals_are_told_apart_and_hurt_nobody_else(
    served: Callable[[Scripted], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One question is too long for one model."""
    answering = Scripted(model(6.0))
    refusing = Scripted(model(6.0), lambda call: refused(400, "too long") if call == 3 else None)
    ends = {"mine": served(refusing), "theirs": served(answering)}
    words = settings(ends, {"judge": served(Scripted(judge(0, 1)))})
    assert main(["eval", "run", str(tmp_path / "out"), *words]) == 1
    out = capsys.readouterr().out
    assert "1 requests were refused, and would be again" in out and "400: too long" in out
    assert "asks for them only" not in out
    assert TURNS * 2 - 4 <= len(judgments(tmp_path / "out")) < TURNS * 2


def test_names_stay_in_their_folder(served: Callable[[Scripted], str], tmp_path: Path) -> None:
    models = {name: served(Scripted(model(6.0))) for name in ("..", "../../x")}
    out = tmp_path / "deep/er/out"
    assert main(["eval", "answer", str(out), *settings(models, {})]) == 0
    assert sorted(path.name for path in (out / "answers").iterdir()) == ["%2E.%2F..%2Fx.jsonl", "%2E..jsonl"]
    assert main(["eval", "export", str(out), str(tmp_path / "deep/files"), "--as", "fastchat"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep"]


def test_the_figure_may_be_chosen(
    served: Callable[[Scripted], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {name: served(Scripted(model(quality))) for name, quality in (("good", 8.0), ("bad", 4.0))}
    ends = {"judge": served(Scripted(judge(0, 0.1)))}
    out = str(tmp_path / "out")
    for figure, more in (
        ("rating", []),
        ("percent", ["eval.baseline=bad"]),
        ("win_rate", ["eval.baseline=bad"]),
    ):
        words = [*settings(models, ends), f"eval.figure={figure}", *more]
        assert main(["eval", "run", out, *words]) == 0
        assert f"  1. good  {figure} " in capsys.readouterr().out
    for words, told in (
        (["eval.figure=grade"], "there is no such figure of comparisons; choose from win_rate"),
        (["eval.figure=percent"], "is against a baseline; name one in eval.baseline"),
        (["eval.figure=rating", "eval.prompt=grade"], "no such figure of single answers; choose from grade"),
    ):
        assert main(["eval", "run", out, *settings(models, ends), *words]) == 2
        assert told in capsys.readouterr().err


def test_a_report_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "report", str(tmp_path / "nowhere"), "eval.models=[{name: a}]"]) == 2
    assert "nowhere: there is no evaluation in it" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()
