"""`make demo`: the whole way on the shipped sample, ending in answers that can be checked."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from ochat_ray.client import openai_client
from ochat_ray.config import load_recipe
from ochat_ray.inspect import funnel
from ochat_ray.pipeline import wait_for_interrupt
from ochat_ray.progress import duration
from ochat_ray.runtime import cluster, require_free_port
from ochat_ray.sample import Question, questions, write_pages

RECIPE = "tiny-cpu"
ASKED = 10
NEEDED = 9


def demo(work: Path, *, port: int, keep: bool) -> int:
    """Make pages, a base model, token files and a fine-tuned model in `work`, serve it and ask it.

    Stages that finished in an earlier run are not redone. Returns 0 if at least 9 of 10 answers are the
    ones that were taught, else 1.
    """
    recipe = load_recipe(RECIPE, [f"serve.port={port}"])
    require_free_port(recipe.serve.host, port, option="--port N (make demo PORT=N)")
    from ochat_ray.data.pipeline import prepare
    from ochat_ray.serve.app import deploy, shutdown
    from ochat_ray.train.base import make_tiny
    from ochat_ray.train.run import train

    began = time.monotonic()
    pages, base = work / "pages", work / "base"

    with cluster(min_cpus=recipe.train.num_workers * recipe.train.threads, private=True):
        _step(1, "saved pages", pages)
        print(f"{write_pages(pages / 'ShareGPT')} pages")

        _step(2, "base model and tokenizer", base)
        if base.exists():
            print("made before")
        else:
            make_tiny(base, recipe)

        _step(3, "clean, deduplicate, filter, render, tokenise", work / "data")
        manifest = prepare([pages], work / "data", recipe, [base])

        _step(4, "fine-tune", work / "train")
        result = train(work / "data", base, work / "train", recipe)

        _step(5, "serve", result.model)
        url = deploy(result.model, recipe.serve)
        try:
            _step(6, "ask", url)
            right = _ask(url, questions()[:ASKED])
            print(f"\n{funnel(manifest['counts'])}")
            print(f"{'training steps':28} {result.steps:>12,}")
            print(f"{'training loss, first step':28} {result.first_loss:>12.3f}")
            print(f"{'training loss, last step':28} {result.last_loss:>12.3f}")
            print(
                f"{'loss on held-out text':28} {result.eval_loss:>12.3f}  (it learned by heart, as it should)"
            )
            print(f"\n{right} of {ASKED} answers as taught, in {duration(time.monotonic() - began)}")
            _what_next(work, result.model, url, keep)
            if keep:
                wait_for_interrupt()
        finally:
            shutdown()
    return 0 if right >= NEEDED else 1


def _step(number: int, what: str, where: object) -> None:
    print(f"\n[{number}/6] {what} -> {where}", flush=True)


def _ask(url: str, asked: list[Question]) -> int:
    """Stream every answer from the endpoint; returns how many are the taught ones."""
    client = openai_client(url)
    model = client.models.list().data[0].id
    right = 0
    for question in asked:
        stream = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": question.text}],
            temperature=0,
            max_tokens=256,
            stream=True,
        )
        print(f"\n> {question.text}")
        answer = ""
        for chunk in stream:
            delta = (chunk.choices[0].delta.content or "") if chunk.choices else ""
            answer += delta
            sys.stdout.write(delta)
            sys.stdout.flush()
        taught = answer == question.answer
        right += taught
        print("\n  [as taught]" if taught else f"\n  [NOT as taught, which was: {question.answer!r}]")
    return right


def _what_next(work: Path, model: Path, url: str, keep: bool) -> None:
    lines = commands(work, model, url)
    if keep:
        lines[0] = f"# served at {url}"
    print("\nTo go on (`source .venv/bin/activate` puts ochat-ray on your PATH):")
    print(
        "".join(f"  {line}\n" for line in lines) + f"Deleting {work} makes the demo start over.", flush=True
    )


def commands(work: Path, model: Path, url: str) -> list[str]:
    """What to try after the demo; the first serves its model."""
    data, folder = shlex.quote(str(work / "data")), shlex.quote(str(model))
    return [
        f"ochat-ray serve {folder} serve.port={urlsplit(url).port}",
        f"ochat-ray chat --url {url}",
        f"ochat-ray inspect {data} --as tokens",
        f"ochat-ray inspect {data} --rejected",
        f"ochat-ray inspect {folder}",
    ]
