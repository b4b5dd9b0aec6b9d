"""Reading logs that grow, are cut back and grow again."""

from __future__ import annotations

from pathlib import Path

import pytest

from ochat_ray.train import log
from ochat_ray.train.folders import Folders
from ochat_ray.train.watch.steps import Steps
from ochat_ray.train.watch.tail import News, Tail
from tests.train.watch.runs import speed_line, start, step_line, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "losses.jsonl"


def lines(*steps: int, loss: float = 1.0) -> list[dict[str, float]]:
    return [{"step": step, "loss": loss} for step in steps]


def test_a_log_that_is_not_there_yet_has_no_news(path: Path) -> None:
    tail = Tail(path)
    assert tail.read() == News([])
    log.append(path, lines(1))
    assert tail.read() == News(lines(1))


def test_every_line_comes_once(path: Path) -> None:
    tail = Tail(path)
    log.append(path, lines(1, 2))
    assert tail.read() == News(lines(1, 2))
    assert tail.read() == News([])
    log.append(path, lines(3))
    assert tail.read() == News(lines(3))


def test_a_line_that_is_being_written_is_waited_for(path: Path) -> None:
    tail = Tail(path)
    path.write_text('{"step": 1, "loss": 1.0}\n{"st')
    assert tail.read() == News(lines(1))
    with path.open("a") as file:
        file.write('ep": 2, "loss": 1.0}\n')
    assert tail.read() == News(lines(2))


def test_a_log_that_was_cut_back_says_to_which_step(path: Path) -> None:
    tail = Tail(path)
    log.append(path, lines(1, 2, 3, 4))
    tail.read()
    log.truncate(path, 2)
    assert tail.read() == News([], back_to=2)
    log.append(path, lines(3, loss=0.5))
    assert tail.read() == News(lines(3, loss=0.5))
    assert tail.after(1) == lines(2) + lines(3, loss=0.5)


@pytest.mark.parametrize("grown_to", [3, 4, 5, 9])
def test_a_log_that_grew_again_between_two_looks_is_noticed_whatever_its_size(
    path: Path, grown_to: int
) -> None:
    tail = Tail(path)
    log.append(path, lines(1, 2, 3, 4))
    tail.read()
    log.truncate(path, 2)
    new = lines(*range(3, grown_to + 1), loss=0.5)
    log.append(path, new)
    assert tail.read() == News(new, back_to=2)


def test_steps_that_came_out_the_same_again_are_no_news(path: Path) -> None:
    tail = Tail(path)
    log.append(path, lines(1, 2, 3, 4))
    tail.read()
    log.truncate(path, 2)
    log.append(path, lines(3, 4, 5))
    assert tail.read() == News(lines(5))


def test_a_log_that_was_cut_back_to_nothing(path: Path) -> None:
    tail = Tail(path)
    log.append(path, lines(1, 2))
    tail.read()
    log.truncate(path, 0)
    assert tail.read() == News([], back_to=0)
    log.append(path, lines(1))
    assert tail.read() == News(lines(1))


def test_a_step_is_whole_with_its_speed_and_evaluation_once_the_next_has_begun(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    logs = Steps(folders)
    start(folders, 0)
    write(folders, range(1, 3))
    news = logs.read()
    assert news.starts == [{"step": 0, "workers": 2}]
    assert news.whole == [step_line(1) | speed_line(1)]
    assert news.newest == step_line(2) | speed_line(2)
    log.append(folders.losses, [{"step": 2, "eval_loss": 0.7}])
    assert logs.read().whole == []
    write(folders, range(3, 4))
    assert logs.read().whole == [step_line(2) | speed_line(2) | {"eval_loss": 0.7}]
    assert logs.read(ended=True).whole == [step_line(3) | speed_line(3)]


def test_after_a_restart_steps_are_whole_again_whichever_log_was_seen_cut_back(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    logs = Steps(folders)
    start(folders, 0)
    write(folders, range(1, 6))
    logs.read()
    start(folders, 2, workers=1)
    # The losses come out the same before the next look, times do not.
    write(folders, range(3, 7))
    log.truncate(folders.speed, 2)
    log.append(folders.speed, [speed_line(step, seconds=9.0) for step in range(3, 7)])
    news = logs.read()
    assert news.starts == [{"step": 2, "workers": 1}]
    assert news.back_to == 2
    assert news.whole == [step_line(step) | speed_line(step, seconds=9.0) for step in (3, 4, 5)]
