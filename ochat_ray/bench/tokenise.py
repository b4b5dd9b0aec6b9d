"""Rendering and writing token files against the bare tokenizer on the same texts, side by side."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ochat_ray.bench import _corpus as corpus
from ochat_ray.bench import record
from ochat_ray.data.tokens.encode import Encoder
from ochat_ray.data.tokens.files import TokenRow, tokens_file
from ochat_ray.data.tokens.fit import fit
from ochat_ray.model_types import load_model_type
from ochat_ray.template import ChatTemplate, Encode
from ochat_ray.tokenizer import ChatTokenizer


def main(argv: Sequence[str]) -> None:
    """Run the benchmark over the conversations of a folder of pages."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench tokenise", description=__doc__)
    corpus.options(parser)
    parser.add_argument(
        "--rounds", type=int, default=5, help="the median of so many rounds counts (default 5)"
    )
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        tokenizer = ChatTokenizer.load(corpus.base(args.base, work / "base"))
        found = corpus.conversations(corpus.pages(args.pages, work / "sample"))
        template = ChatTemplate(load_model_type("openchat"), tokenizer)
        pairs = [(one.messages, None) for one in found]
        texts = [message.content for one in found for message in one.messages]
        encoder = Encoder(tokenizer)
        bare: dict[str, Callable[[Sequence[str]], object]] = {"tokenizers": tokenizer.encode_batch}
        ours: dict[str, Encode] = {"tokenizers": tokenizer.encode_arrays}
        if encoder.backend.startswith("gigatoken"):
            from gigatoken import Tokenizer

            fast = Tokenizer.from_json(json.dumps(tokenizer.bare_spec))
            bare["gigatoken"] = lambda texts: fast.encode_batch(texts, parallel=False)
            ours["gigatoken"] = encoder

        def written(encode: Encode) -> None:
            context = template.model_type.context
            rendered = template.render_batch(pairs, encode)
            rows = [
                TokenRow(one.id, piece, None, row)
                for one, turns in zip(found, rendered, strict=True)
                for piece, row in enumerate(fit(turns, context, "truncate", system=False).rows)
            ]
            (work / "out.arrow").write_bytes(tokens_file(rows, template))

        tokens = sum(len(turns.input_ids) for turns in template.render_batch(pairs))
        lines = [
            "| tokenizer | bare, M tokens/CPU s | rendered and written | CPU time of bare |",
            "|---|---|---|---|",
        ]
        for name in bare:
            times: dict[str, list[float]] = {"bare": [], "written": []}
            for _ in range(args.rounds):  # side by side, so that both meet the same load
                times["bare"].append(seconds(bare[name], texts))
                times["written"].append(seconds(written, ours[name]))
            alone, whole = (statistics.median(values) for values in times.values())
            rates = f"{tokens / alone / 1e6:.2f} | {tokens / whole / 1e6:.2f}"
            lines.append(f"| {name} | {rates} | {whole / alone:.2f} |")
    record(f"Tokenising {len(found):,} conversations, {tokens:,} tokens, one core", "\n".join(lines))


def seconds(work: Callable[[Any], object], argument: Any) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    work(argument)
    return time.process_time() - began
