"""The requests of the engine's benchmark through vLLM, run by the Python that has vLLM.

`python -m ochat_ray.bench._vllm MODEL_FOLDER ASKS.json CONCURRENCY` prints a line of JSON a round. The model
runs in this process on one thread of the CPU, since what is compared is CPU time. Settings are those that
vLLM was fastest with: compiled, prefix caching off, since no prompts are alike, and its manual's libraries
preloaded where they are found (Debian's libtcmalloc-minimal4; Intel's OpenMP comes with vLLM).
"""

from __future__ import annotations

import argparse
import ctypes.util
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONTEXT = 1024
BLOCK = 128
CHUNK = 512  # tokens of a step at most; 1024 and 4096 were no faster
PRELOADED = ("tcmalloc_minimal", "iomp5")
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "4",  # GiB at most; what is used of it is set by blocks
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
}
STARTED = "OCHAT_BENCH_VLLM_STARTED"


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench._vllm", description=__doc__)
    parser.add_argument("model", help="folder of the model")
    parser.add_argument("asks", type=Path, help="JSON: a list of {prompt: [ids], reply: tokens}")
    parser.add_argument("concurrency", type=int, help="requests at a time")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=1, help="(default 1)")
    args = parser.parse_args(argv)
    if STARTED not in os.environ:
        _start_again(argv)
    asks = json.loads(args.asks.read_text(encoding="utf-8"))
    llm = _load(args.model, args.dtype, args.concurrency)
    _serve(llm, asks)  # warms up
    for _ in range(args.rounds):
        cpu, wall = _cpu_seconds(), time.monotonic()
        ids = _serve(llm, asks)
        took = {"cpu_s": _cpu_seconds() - cpu, "wall_s": time.monotonic() - wall}
        print(json.dumps({"tokens": sum(map(len, ids)), **took, "ids": ids}), flush=True)


def _start_again(argv: Sequence[str]) -> None:
    """In another environment: nothing can be preloaded into a process that runs already."""
    preload = [path for name in PRELOADED if (path := _library(name))]
    preload += filter(None, [os.environ.get("LD_PRELOAD")])
    environment = {**ENVIRONMENT, **os.environ, "LD_PRELOAD": ":".join(preload), STARTED: "1"}
    os.execve(sys.executable, [sys.executable, "-m", "ochat_ray.bench._vllm", *argv], environment)


def _library(name: str) -> str | None:
    beside = Path(sys.prefix) / "lib" / f"lib{name}.so"
    return str(beside) if beside.exists() else ctypes.util.find_library(name)


def _load(model: str, dtype: str, concurrency: int) -> Any:
    from vllm import LLM

    return LLM(
        model,
        skip_tokenizer_init=True,
        dtype=dtype,
        max_model_len=CONTEXT,
        max_num_seqs=concurrency,
        max_num_batched_tokens=CHUNK,
        num_gpu_blocks_override=concurrency * CONTEXT // BLOCK + 1,  # one is vLLM's own
        enable_prefix_caching=False,
        disable_log_stats=True,
    )


def _serve(llm: Any, asks: Sequence[dict[str, Any]]) -> list[list[int]]:
    from vllm import SamplingParams, TokensPrompt

    prompts = [TokensPrompt(prompt_token_ids=ask["prompt"]) for ask in asks]
    parameters = [
        SamplingParams(temperature=0.0, max_tokens=ask["reply"], ignore_eos=True, detokenize=False)
        for ask in asks
    ]
    outputs = llm.generate(prompts, parameters, use_tqdm=False)
    return [list(output.outputs[0].token_ids) for output in outputs]


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main(sys.argv[1:])
