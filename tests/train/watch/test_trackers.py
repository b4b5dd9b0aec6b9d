"""Trackers see every step once, also over restarts and commands, and none of them holds a run up."""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ochat_ray.config import Recipe
from ochat_ray.config.train import TrackConfig
from ochat_ray.errors import ConfigError
from ochat_ray.train import log
from ochat_ray.train.folders import Folders
from ochat_ray.train.watch import trackers
from ochat_ray.train.watch.steps import Steps
from ochat_ray.train.watch.trackers import Senders, check, metrics
from tests.train.watch.runs import sent, skipped_line, speed_line, start, step_line, write
from tests.waiting import wait_for


class Watched:
    """One command: logs, and the trackers of a recipe. `look` reads and sends."""

    def __init__(self, folders: Folders, recipe: Recipe, track: TrackConfig) -> None:
        self.senders = Senders(folders, recipe.replace(train=recipe.train.replace(track=track)))
        self.logs = Steps(folders)

    def look(self, *, ended: bool = False) -> None:
        self.senders.send(self.logs.read(ended=ended))

    def close(self, *, finished: bool = True) -> list[str]:
        self.look(ended=True)
        return list(self.senders.close(finished=finished))


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path / "run-1")


@pytest.fixture
def command(folders: Folders, recipe: Recipe) -> Callable[..., Watched]:
    folders.output.mkdir()
    return lambda **track: Watched(folders, recipe, TrackConfig(**{"tensorboard": False, **track}))


def eventful_run(folders: Folders, command: Callable[[], Watched]) -> list[str]:
    """Two commands; the first also loses its workers. Steps 3, 4 and 6 are computed twice."""
    first = command()
    start(folders, 0)
    write(folders, range(1, 5))
    log.append(folders.losses, [{"step": 4, "eval_loss": 0.8, "eval_losses": {"gpt 4": 0.7, "a&b": 0.9}}])
    write(folders, range(5, 6))
    first.look()
    start(folders, 2)
    first.look()
    write(folders, range(3, 5))
    log.append(folders.losses, [{"step": 4, "eval_loss": 0.8, "eval_losses": {"gpt 4": 0.7, "a&b": 0.9}}])
    write(folders, range(5, 7))
    said = first.close(finished=False)
    second = command()
    start(folders, 5)
    write(folders, range(6, 9))
    return said + second.close()


def test_metrics_have_names_that_group() -> None:
    record = step_line(2) | speed_line(2) | {"eval_loss": 0.5, "eval_losses": {"gpt4": 0.4}}
    assert metrics(record) == {
        "train/loss": 1.0,
        "train/learning_rate": 2e-5,
        "train/grad_norm": 0.5,
        "train/epoch": 1.0,
        "eval/loss": 0.5,
        "eval/class/gpt4": 0.4,
        "speed/seconds": 0.5,
        "speed/tokens_per_s": 200.0,
        "speed/packing": 0.99,
        "speed/memory_gb": 3.5,
    }
    assert metrics(skipped_line(2, ["a"])) == {
        "train/learning_rate": 1e-5,
        "train/epoch": 1.0,
        "train/skipped": 1.0,
    }


def scalars(folders: Folders) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folders.tensorboard))
    found.Reload()
    return {
        tag: [(event.step, round(event.value, 4)) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def test_tensorboard_shows_every_step_once(folders: Folders, command: Callable[..., Watched]) -> None:
    said = eventful_run(folders, lambda: command(tensorboard=True))
    assert said == [f"TensorBoard: tensorboard --logdir {folders.tensorboard}"] * 2
    assert len(list(folders.tensorboard.iterdir())) >= 1
    found = scalars(folders)
    assert found["train/loss"] == [(step, round(2 / step, 4)) for step in range(1, 9)]
    assert found["speed/packing"] == [(step, 0.99) for step in range(1, 9)]
    assert found["eval/loss"] == [(4, 0.8)]
    assert found["eval/class/gpt 4"] == [(4, 0.7)]


def test_tensorboard_gets_all_again_where_its_files_were_deleted(
    folders: Folders, command: Callable[..., Watched]
) -> None:
    eventful_run(folders, lambda: command(tensorboard=True))
    for path in folders.tensorboard.iterdir():
        path.unlink()
    command(tensorboard=True).close()
    assert [step for step, _ in scalars(folders)["train/loss"]] == list(range(1, 9))


def test_the_driver_imports_no_torch_for_tensorboard() -> None:
    modules = "ochat_ray.train.watch.tensorboard, ochat_ray.train.watch.follow"
    code = f"import sys, {modules}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "tensorflow", "ray"} & set(loaded.split())
    assert "tensorboard" in loaded.split()


def test_mlflow_gets_every_step_once_in_one_run(
    folders: Folders, command: Callable[..., Watched], tmp_path: Path, recipe: Recipe
) -> None:
    pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed")
    tracking = pytest.importorskip("mlflow.tracking", reason="mlflow is not installed", exc_type=ImportError)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    said = eventful_run(folders, lambda: command(mlflow=uri))
    client = tracking.MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("ochat-ray").experiment_id])
    assert said == [f"MLflow: run {run.info.run_id} at {uri}"] * 2
    assert run.info.status == "FINISHED" and run.info.run_name == "run-1"
    assert run.data.params["train.learning_rate"] == str(recipe.train.learning_rate)
    assert run.data.params["train.checkpoint.keep"] == str(recipe.train.checkpoint.keep)

    def history(name: str) -> list[tuple[int, float]]:
        return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]

    assert history("train/loss") == [(step, 2 / step) for step in range(1, 9)]
    assert history("eval/class/a_b") == [(4, 0.9)]


@pytest.fixture
def wandb_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    for name in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "wandb"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield
    wandb.teardown()


def wandb_history(file: Path) -> dict[int, float]:
    """Loss by step in a file of W&B's: seven bytes, then records in LevelDB's log format."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole, found = file.read_bytes(), 7, b"", {}
    while at + 7 <= len(data):
        if (left := -at % 32768) < 7:  # a block's rest that holds no header
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # all of a record, or its end
            record = Record()
            record.ParseFromString(whole)
            whole = b""
            if record.HasField("history"):
                values = {"/".join(item.nested_key) or item.key: item for item in record.history.item}
                step = json.loads(values["_step"].value_json)
                found[step] = json.loads(values["train/loss"].value_json)
    return found


@pytest.mark.usefixtures("wandb_offline")
def test_wandb_offline_gets_every_step_once_under_one_id(
    folders: Folders, command: Callable[..., Watched]
) -> None:
    def later() -> Watched:
        time.sleep(1.1)  # W&B names its folders by the second
        return command(wandb="chats")

    said = eventful_run(folders, later)
    number = sent(folders, "wandb")["run"]
    assert said == [f"Weights & Biases: wandb sync {folders.output}/wandb/offline-run-*-{number}"] * 2
    first, second = sorted(folders.output.glob(f"wandb/offline-run-*-{number}/*.wandb"))
    # W&B's process writes the last of it a moment after the run has ended.
    wait_for(lambda: len(wandb_history(first)) == 6 and len(wandb_history(second)) == 2, what="whole history")
    assert wandb_history(first) == {step: 2 / step for step in range(1, 7)}
    assert wandb_history(second) == {7: 2 / 7, 8: 2 / 8}


class Broken:
    """A tracker that takes a while to fail."""

    where = "nowhere"

    def __init__(self) -> None:
        self.calls = 0

    def send(self, _steps: list[tuple[int, dict[str, float]]]) -> None:
        self.calls += 1
        raise ConnectionError("no route to host\nand much more")


def test_a_tracker_that_fails_is_told_in_one_line_and_asked_no_more(
    folders: Folders, command: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken()
    monkeypatch.setattr(trackers, "_open", lambda *_: broken)
    start(folders, 0)
    write(folders, range(1, 4))
    watched = command(mlflow="http://127.0.0.1:1")
    watched.look()
    watched.senders._senders[0].join(30)
    write(folders, range(4, 9))
    assert watched.close() == ["MLflow: nowhere", "MLflow gets no more of this run: no route to host"]
    assert broken.calls == 1
    assert sent(folders, "mlflow")["step"] == 0


def test_a_tracker_that_hangs_is_left_behind(
    folders: Folders, command: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = threading.Event()
    monkeypatch.setattr(trackers, "_open", lambda *_: hang.wait(60))
    monkeypatch.setattr(trackers, "CLOSE_S", 0.1)
    watched = command(wandb="chats")
    start(folders, 0)
    write(folders, range(1, 4))
    assert watched.close() == ["Weights & Biases gave no answer for 0.1 s, and lacks steps"]
    hang.set()


def test_a_tracker_elsewhere_gets_the_whole_run(
    folders: Folders, command: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: dict[str, list[int]] = {}

    class Kept(Broken):
        def __init__(self, target: str) -> None:
            self.steps = taken.setdefault(target, [])

        def send(self, steps: list[tuple[int, dict[str, float]]]) -> None:
            self.steps += [step for step, _ in steps]

        def close(self, finished: bool) -> None:
            assert finished

    monkeypatch.setattr(trackers, "_open", lambda _name, target, *_: Kept(target))
    start(folders, 0)
    write(folders, range(1, 4))
    assert command(mlflow="here").close() == ["MLflow: nowhere"]
    assert command(mlflow="there").close() == ["MLflow: nowhere"]
    assert taken == {"here": [1, 2, 3], "there": [1, 2, 3]}


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=rf'train\.track\.{name} = x: .*pip install "ochat-ray\[{name}\]"'):
        check(TrackConfig(**{name: "x"}))
    check(TrackConfig())


def test_training_goes_on_without_tensorboard(
    folders: Folders, command: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert command(tensorboard=True).close() == [
        "TensorBoard is not installed, so no event files are written"
    ]
    assert not folders.tensorboard.exists()
