"""Copies and near-copies that were planted among three thousand pages are found, where these are at hand."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from ochat_ray.config import FilterConfig, NearDuplicateConfig
from ochat_ray.conversation import Conversation
from ochat_ray.data.clean.conversation import clean_page
from ochat_ray.data.dedup.exact import text_hash
from ochat_ray.data.dedup.near import Candidate, band_table, candidate_pairs, clusters, key_of, sketches
from ochat_ray.data.dedup.words import hash_ngrams, hash_words
from tests.data.conftest import KnownPage

CONFIG = NearDuplicateConfig(action="drop")
NO_WORDS = FilterConfig.model_validate({"blocked_words": {"words": ()}})


class Corpus(NamedTuple):
    """Text hashes by id, texts by key, and ids that were planted beside their originals, by kind."""

    hashes: dict[str, str]
    texts: dict[bytes, str]
    planted: dict[str, list[tuple[str, str]]]


@pytest.fixture(scope="module")
def corpus(known_pages: list[KnownPage]) -> Corpus:
    hashes: dict[str, str] = {}
    texts: dict[bytes, str] = {}
    for truth, page in known_pages:
        found = clean_page(page, f"{truth['id']}.html", NO_WORDS)
        if isinstance(found, Conversation):
            hashes[found.id] = text_hash(found.messages)
            texts[key_of(hashes[found.id])] = "\n".join(message.content for message in found.messages)
    planted: dict[str, list[tuple[str, str]]] = {"dup": [], "near": []}
    for truth, _ in known_pages:
        pair = (truth["id"], truth["dup_of"])
        if truth["kind"] in planted and all(id in hashes for id in pair):
            planted[truth["kind"]].append(pair)
    return Corpus(hashes, texts, planted)


def test_every_planted_copy_is_found(corpus: Corpus) -> None:
    assert len(corpus.planted["dup"]) > 150
    assert [pair for pair in corpus.planted["dup"] if len({corpus.hashes[id] for id in pair}) > 1] == []


def test_planted_near_copies_are_found_and_little_else(corpus: Corpus) -> None:
    keys, texts = list(corpus.texts), list(corpus.texts.values())
    pairs = candidate_pairs(band_table(keys, texts, CONFIG))
    ends = list(zip(pairs["a"].to_pylist(), pairs["b"].to_pylist(), strict=True))
    candidates = [Candidate(False, -len(text), key.hex(), key) for key, text in corpus.texts.items()]
    found = {
        member.key: member.best
        for member in clusters(candidates, sketches(texts, CONFIG), ends, CONFIG.jaccard)
    }

    def together(pair: tuple[str, str]) -> bool:
        a, b = (key_of(corpus.hashes[id]) for id in pair)
        return a == b or (a in found and found[a] == found.get(b))

    planted = corpus.planted["near"]
    assert len(planted) > 70
    assert sum(map(together, planted)) / len(planted) >= 0.97

    def grams(key: bytes) -> set[int]:
        return set(hash_ngrams(hash_words([corpus.texts[key]]), CONFIG.ngram).hashes.tolist())

    alike = {member: best for member, best in found.items() if member != best}
    close = sum(len(grams(a) & grams(b)) / len(grams(a) | grams(b)) >= 0.6 for a, b in alike.items())
    assert len(alike) > 150
    assert (
        close / len(alike) >= 0.95
    )  # clusters are chains: their ends may have less in common than neighbours
