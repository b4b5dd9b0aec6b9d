"""Near-duplicates: how fast conversations are signed, and how many planted copies are found.

For each conversation an edited copy is planted: words put in, left out or replaced. What counts is the exact
share of common word n-grams: recall is of the planted pairs that have at least the threshold in common,
precision of all pairs that were found.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from ochat_ray.bench import _corpus as corpus
from ochat_ray.bench import record
from ochat_ray.config import NearDuplicateConfig
from ochat_ray.conversation import Conversation
from ochat_ray.data.dedup import near
from ochat_ray.data.dedup.exact import text_hash
from ochat_ray.data.dedup.words import hash_ngrams, hash_words

SEED = 42


def main(argv: Sequence[str]) -> None:
    """Run the benchmark over the conversations of a folder of pages."""
    parser = argparse.ArgumentParser(prog="python -m ochat_ray.bench near", description=__doc__)
    corpus.options(parser)
    parser.add_argument(
        "--rounds", type=int, default=5, help="the median of so many rounds counts (default 5)"
    )
    args = parser.parse_args(argv)
    config = NearDuplicateConfig(action="drop")
    with tempfile.TemporaryDirectory() as folder:
        found = corpus.conversations(corpus.pages(args.pages, Path(folder)))
    plain = list({text_hash(one.messages): text_of(one) for one in found}.values())
    chance = random.Random(SEED)
    texts = [*plain, *(edited(text, chance) for text in plain)]
    keys = [index.to_bytes(16, "big") for index in range(len(texts))]
    seconds = []
    for _ in range(args.rounds):
        began = time.process_time()
        bands = near.band_table(keys, texts, config)
        seconds.append(time.process_time() - began)
    pairs = near.candidate_pairs(bands)
    ends = np.array([[int.from_bytes(k, "big") for k in pairs[s].to_pylist()] for s in ("a", "b")]).T
    sketches = near.sketches(texts, config)
    estimate = near.jaccard(sketches[ends[:, 0]], sketches[ends[:, 1]])
    told = {(int(a), int(b)) for a, b in ends[estimate >= config.jaccard]}
    exact = Exact(texts, config.ngram)
    planted = [(i, len(plain) + i) for i in range(len(plain))]
    meant = [pair for pair in planted if exact.jaccard(*pair) >= config.jaccard]
    recall = sum(pair in told for pair in meant) / len(meant)
    right = sum(exact.jaccard(*pair) >= config.jaccard for pair in told) / len(told)
    close = sum(exact.jaccard(*pair) >= config.jaccard - 0.05 for pair in told) / len(told)
    rate = len(texts) / statistics.median(seconds)
    table = [
        "| conversations | signed per CPU s | planted | recall | pairs found | precision | within 0.05 |",
        "|---|---|---|---|---|---|---|",
        f"| {len(texts):,} | {rate:,.0f} | {len(meant):,} | {recall:.1%} | {len(told):,} | {right:.1%} "
        f"| {close:.1%} |",
    ]
    record(f"Near-duplicates at {config.jaccard} of common {config.ngram}-grams, one core", "\n".join(table))


def text_of(conversation: Conversation) -> str:
    """What is compared of a conversation."""
    return "\n".join(message.content for message in conversation.messages)


def edited(text: str, chance: random.Random) -> str:
    """A text with up to a tenth of its words changed, and some words at its ends."""
    words = text.split(" ")
    share = chance.uniform(0, 0.1)
    for index in range(len(words)):
        if chance.random() < share:
            words[index] = chance.choice(["", words[index] + " also", "other"])
    return " ".join([*["please"] * chance.randrange(3), *words, *["thanks"] * chance.randrange(3)])


class Exact:
    """The exact share of common n-grams of two texts."""

    def __init__(self, texts: Sequence[str], ngram: int) -> None:
        grams = hash_ngrams(hash_words(texts), ngram)
        self.sets = [set(grams.hashes[a:b].tolist()) for a, b in pairwise(grams.offsets)]

    def jaccard(self, a: int, b: int) -> float:
        """Of two texts by their places."""
        union = len(self.sets[a] | self.sets[b])
        return len(self.sets[a] & self.sets[b]) / union if union else 0.0
