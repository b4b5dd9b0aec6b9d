"""Sizes of published models, and the operations that training them takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ochat_ray.errors import CheckpointError
from ochat_ray.train.flops import Size, peak_flops
from tests.train.models import PUBLISHED


def size_of(name: str, folder: Path) -> Size:
    PUBLISHED[name][0].save_pretrained(folder)
    return Size.of(folder)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_of_published_models_are_exact(name: str, tmp_path: Path) -> None:
    size = size_of(name, tmp_path)
    assert size.parameters == PUBLISHED[name][1]
    # What is left beside embeddings, head and layers are the norms and their biases.
    tables = size.embedding + (0 if size.tied else size.head)
    assert 0 < size.parameters - tables - size.layers * size.layer <= 2 * size.hidden


def test_a_tied_table_is_counted_once_but_multiplied(tmp_path: Path) -> None:
    size = size_of("StarCoderPlus", tmp_path)
    assert size.tied and size.head == 49152 * 6144
    assert size.embedding == (49152 + 8192) * 6144
    assert size.multiplied == size.parameters - 8192 * 6144


def test_operations_of_a_token(tmp_path: Path) -> None:
    size = size_of("LLaMA-13B", tmp_path)
    assert size.multiplied == size.parameters - 32000 * 5120
    # 78 GFLOP in conversations of some hundred tokens, the figure of OpenChat's runs.
    assert size.flops([700] * 3) / 2100 == pytest.approx(78e9, rel=0.01)
    assert size.flops([2]) == 6.0 * size.multiplied * 2 + 6.0 * 40 * 5120 * 4


def test_packing_changes_nothing_but_longer_conversations_cost_more(tmp_path: Path) -> None:
    size = size_of("Llama-3-8B", tmp_path)
    assert size.flops([100, 300]) == size.flops([300]) + size.flops([100])
    assert size.flops([400]) > size.flops([100, 300])


def test_a_window_limits_what_attention_costs(tmp_path: Path) -> None:
    size = size_of("Mistral-7B", tmp_path)
    assert size.window == 4096
    linear = 6.0 * size.multiplied
    half = 6.0 * 32 * 4096 * 4096**2
    assert size.flops([4096]) == linear * 4096 + half
    assert size.flops([8192]) == linear * 8192 + half + 12.0 * 32 * 4096 * 4096**2


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nonesuch"}')
    with pytest.raises(CheckpointError, match=r"config\.json: no model can be made of it"):
        Size.of(tmp_path)


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA A100-SXM4-40GB", 312),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989),
        ("NVIDIA B200", 2250),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA A10G", 70),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("AMD Instinct MI300X", 1307),
        ("H100-PCIe", 756),
    ],
)
def test_peaks_by_the_names_that_drivers_give(name: str, teraflops: float) -> None:
    assert peak_flops(name) == teraflops * 1e12


@pytest.mark.parametrize(
    "name",
    ["Tesla V100-SXM2-16GB", "NVIDIA A100-SXM4-80GB MIG 1g.10gb", "NVIDIA GeForce RTX 4090 Laptop GPU", ""],
)
def test_no_peak_for_other_devices(name: str) -> None:
    assert peak_flops(name) is None
