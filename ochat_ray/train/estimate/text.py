"""An estimate for people to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from ochat_ray.progress import duration
from ochat_ray.train.estimate.estimate import Estimate, OnGpu
from ochat_ray.train.gpus import GIB


def render(estimate: Estimate) -> str:
    """Lines of `what  figures`, and for each kind of GPU whether the run fits, and how long it takes."""
    rows = [*_rows(estimate)]
    lines = [f"{what:11}{figures}" for what, figures in rows]
    if len(estimate.on) == 1:
        lines += _verdict(estimate, estimate.on[0])
    elif estimate.on:
        lines += ["", *_table(estimate)]
    return "\n".join(lines)


def _rows(estimate: Estimate) -> Iterator[tuple[str, str]]:
    config, work, size = estimate.config, estimate.work, estimate.model.size
    kind = "bfloat16" if estimate.model.bytes == 2 else "float32"
    trained = "" if estimate.trainable == size.parameters else f", {estimate.trainable:,} of them trained"
    yield "model", f"{size.architecture}, {size.parameters:,} parameters{trained}"
    yield (
        "data",
        f"{_count(work.conversations, 'conversation')}, the longest of {work.longest:,} tokens",
    )
    yield (
        "steps",
        f"{work.steps:,} in {_count(work.epochs, 'epoch')}, "
        f"each of {_count(config.bins_per_step, 'bin')} of {config.max_tokens:,} tokens",
    )
    yield "tokens", f"{work.tokens:,}, of which {work.targets:,} carry loss"
    yield (
        "packing",
        f"bins {work.efficiency:.1%} full, compute {work.balance:.1%} balanced over "
        f"{_count(work.workers, 'worker')}",
    )
    auto = " (auto)" if config.learning_rate == "auto" else ""
    yield "rate", f"{estimate.learning_rate:.3g}{auto}, {config.schedule}"
    each = work.flops / work.tokens
    yield "compute", f"{_metric(work.flops)}FLOP, {_metric(each)}FLOP a token"
    sharing = config.strategy + (", offloaded" if config.cpu_offload else "")
    yield "memory", f"{_size(estimate.memory.total)} a worker ({sharing}, {kind}):"
    for part, amount in asdict(estimate.memory).items():
        yield "", f"{part:11} {_size(amount):>11}"
    if estimate.host:
        yield "host", f"{_size(estimate.host)} a worker besides"
    if config.min_workers:
        yield "elastic", f"{_size(estimate.fewest)} a worker while there are only {config.min_workers}"
    kept = config.checkpoint.keep + 1
    yield (
        "checkpoint",
        f"{_size(estimate.checkpoint)} each, {_size(kept * estimate.checkpoint)} for up to {kept}",
    )


def _verdict(estimate: Estimate, on: OnGpu) -> Iterator[str]:
    gpu, needed = on.gpu, _size(estimate.memory.total)
    yield (
        f"{'time':11}{duration(on.seconds)} on {estimate.work.workers} x {gpu.name}, taking {on.mfu:.0%} of "
        f"{gpu.teraflops:g} TFLOP/s each; start, evaluation and checkpoints come on top"
    )
    if on.fits:
        yield f"{'fits':11}yes: {needed} of {gpu.memory_gib:g} GiB"
        return
    yield f"{'fits':11}no: {needed} needed, {gpu.name} has {gpu.memory_gib:g} GiB"
    for remedy in on.remedies:
        yield f"{'':11}{' '.join(remedy.settings)} makes it fit: {_size(remedy.bytes)} ({remedy.price})"
    if not on.remedies:
        yield f"{'':11}no setting makes it fit: take a GPU with more memory, or a smaller model"


def _table(estimate: Estimate) -> Iterator[str]:
    yield f"{'GPU':11}{'memory':>10}  {'time':>12}  fits"
    for on in estimate.on:
        if on.fits:
            fits = "yes"
        elif on.remedies:
            fits = f"with {' '.join(on.remedies[0].settings)}"
        else:
            fits = "no"
        yield f"{on.gpu.name:11}{on.gpu.memory_gib:6.1f} GiB  {duration(on.seconds):>12}  {fits}"
    yield (
        f"Times of {_count(estimate.work.workers, 'worker')} at {estimate.on[0].mfu:.0%} of each GPU's peak, "
        "as set now; --gpu NAME tells all that would make one fit."
    )


def _size(amount: float) -> str:
    return f"{amount / GIB:,.1f} GiB" if amount >= GIB / 10 else f"{amount / 2**20:.1f} MiB"


def _metric(value: float) -> str:
    """With three digits and a prefix: `78.1 G`."""
    for prefix in ("", "k", "M", "G", "T", "P", "E"):
        if value < 1000:
            return f"{value:.3g} {prefix}"
        value /= 1000
    return f"{value:,.3g} Z"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
