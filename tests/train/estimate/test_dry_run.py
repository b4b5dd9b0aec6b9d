"""`train --dry-run`: the figures of a run that is not started, on the command line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ochat_ray.cli import main
from ochat_ray.config import Recipe, TrainConfig
from ochat_ray.errors import ConfigError
from ochat_ray.train.estimate.dry_run import dry_run
from ochat_ray.train.estimate.estimate import estimate
from ochat_ray.train.estimate.model import Model
from ochat_ray.train.estimate.text import render
from ochat_ray.train.estimate.work import Work
from ochat_ray.train.flops import Size
from ochat_ray.train.gpus import GPUS, choose_gpus, find_gpu
from ochat_ray.train.packing import make_plan
from tests.train.models import PUBLISHED


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """Llama-3-70B's config beside the tiny base's tokenizer, and no weights at all."""
    folder = tmp_path_factory.mktemp("large") / "base"
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    PUBLISHED["Llama-3-70B"][0].save_pretrained(folder)
    return folder


def command(data: Path, base: Path, output: Path, *words: str) -> list[str]:
    settings = ["--recipe", "tiny-cpu", "train.num_workers=2", "train.epochs=3", "train.max_tokens=128"]
    return ["train", str(data), str(output), "--base", str(base), "--dry-run", *settings, *words]


def test_it_starts_no_ray_and_writes_nothing(tmp_path: Path, data: Path, base: Path) -> None:
    code = (
        "import sys\n"
        "from ochat_ray.cli import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "sys.exit('ray was loaded' if 'ray' in sys.modules else 0)\n"
    )
    words = command(data, base, tmp_path / "out")
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "72 conversations" in done.stdout and "carry loss" in done.stdout
    assert [*tmp_path.iterdir()] == []


def test_a_model_of_70_billion_without_weights(
    tmp_path: Path, data: Path, large: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--gpu", "h100", "train.use_gpu=true", "train.bins_per_step=2"]
    assert main(command(data, large, tmp_path / "out", *words)) == 0
    out = capsys.readouterr().out
    assert "70,553,706,496 parameters" in out
    for part in ("weights", "gradients", "optimizer", "activations", "logits", "gathered", "reserve"):
        assert part in out
    assert "on 2 x H100, taking 45% of 989 TFLOP/s each" in out
    assert "needed, H100 has 79.1 GiB" in out and "train.cpu_offload=true makes it fit" in out


def test_without_a_name_all_gpus_are_compared(
    tmp_path: Path, data: Path, large: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(data, large, tmp_path / "out", "train.use_gpu=auto")) == 0
    out = capsys.readouterr().out
    assert all(f"\n{gpu.name} " in out for gpu in GPUS)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--gpu", "A100", "train.use_gpu=true"], "did you mean A100-40GB or A100-80GB?"),
        (["--gpu", "TPU", "train.use_gpu=true"], "not in the table of GPUs"),
        (["--gpu", "H100"], "train.use_gpu is false"),
        (["train.lora.targets=[nonesuch]", "train.lora.rank=4"], "train.lora.targets = nonesuch"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    data: Path,
    base: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
) -> None:
    assert main(command(data, base, tmp_path / "out", *words)) == 2
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1


def test_a_gpu_without_a_dry_run_is_refused(
    tmp_path: Path, data: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(data), str(tmp_path / "out"), "--base", str(base), "--gpu", "H100"]) == 2
    assert "add --dry-run" in capsys.readouterr().err


def test_the_plan_is_that_of_the_run(data: Path, base: Path, recipe: Recipe) -> None:
    found = dry_run(data, base, recipe, ())
    work = found.work
    assert work.conversations == 72 and work.epochs == recipe.train.epochs
    assert work.steps * 4 * 128 * work.efficiency == pytest.approx(work.tokens)
    assert 0 < work.targets < work.tokens
    assert found.learning_rate == 1e-2 and found.on == ()
    assert found.memory.total == found.fewest > found.memory.reserve > 0
    fewer = dry_run(data, base, recipe.replace(train=recipe.train.replace(min_workers=1)), ())
    assert fewer.fewest > fewer.memory.total == found.memory.total
    assert "a worker while there are only 1" in render(fewer)


def test_waiting_for_the_slowest_is_counted(tmp_path: Path) -> None:
    PUBLISHED["LLaMA-7B"][0].save_pretrained(tmp_path)
    size = Size.of(tmp_path)
    lengths = np.array([300, 300, 300, 100])
    plan = make_plan(lengths, max_tokens=320, bins_per_step=4, epochs=1, seed=0)

    def work(workers: int) -> Work:
        return Work.of(plan, lengths, 500, size, max_tokens=320, workers=workers)

    assert work(1).balance == pytest.approx(1)
    assert work(4).slowest == pytest.approx(size.flops([300]))
    assert work(4).flops == work(3).flops == size.flops(lengths)
    assert work(3).slowest == pytest.approx(
        size.flops([300]) + max(size.conversation_flops(lengths[plan.order])[3:])
    )


def test_time_and_rate(tmp_path: Path) -> None:
    PUBLISHED["LLaMA-13B"][0].save_pretrained(tmp_path)
    config = TrainConfig(num_workers=8, bins_per_step=8, learning_rate="auto")
    model = Model.of(tmp_path, config, gpu=True)
    lengths = np.full(8000, 2000)
    plan = make_plan(lengths, max_tokens=2048, bins_per_step=8, epochs=1, seed=0)
    work = Work.of(plan, lengths, 4_000_000, model.size, max_tokens=2048, workers=8)
    gpu = find_gpu("H100")
    assert gpu is not None
    plain, recomputing = (
        estimate(config.replace(activation_checkpointing=again), model, work, [gpu])
        for again in (False, True)
    )
    seconds = model.size.flops(lengths) / (8 * 989e12 * 0.45)
    assert plain.on[0].seconds == pytest.approx(seconds)
    assert recomputing.on[0].seconds == pytest.approx(seconds * 4 / 3)
    assert plain.learning_rate == pytest.approx(3e-4 * (4000 / 4e6) ** 0.5)
    assert "9.49e-06 (auto)" in render(plain)
    assert "taking 34%" in render(recomputing)


def test_gpus_by_name() -> None:
    config = TrainConfig(use_gpu=True)
    assert [gpu.name for gpu in choose_gpus(config, "a100 80gb")] == ["A100-80GB"]
    assert choose_gpus(config, None) == GPUS
    with pytest.raises(ConfigError, match="did you mean RTX-4090"):
        choose_gpus(config, "rtx4090")
