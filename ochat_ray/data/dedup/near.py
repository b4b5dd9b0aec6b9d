"""Near-duplicates: MinHash signatures of word n-grams, banded so that likely pairs meet, then compared.

MinHash after Broder (1997), by rensa's R-MinHash; banding (LSH) after Indyk and Motwani (1998), as in
Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3; for the comparison one byte is kept
of each hash (b-bit MinHash, Li and Konig 2010).

A text is known here by its key, the first 16 bytes of its hash, so that what is shuffled stays small.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ochat_ray.config import NearDuplicateConfig
from ochat_ray.data.dedup.words import hash_ngrams, hash_words, mix

SEED = 42
BATCH = 256  # texts whose n-grams are in memory at a time
SKETCH = 512  # bytes to compare two texts by: the standard error of the estimate is 0.02 at most
WORDLESS = np.uint32(2**32 - 1)  # all that is in the signature of a text without words
STRANGERS = 1 / 256  # share of bytes that agree by chance
CROWD = 16  # texts in a bucket from which not all pairs are candidates, but neighbours and the first with all

KEY = pa.binary(16)
# A text in one band: `band` is equal for those that agree in all hashes of that band.
BANDS = pa.schema([pa.field("band", pa.uint64(), nullable=False), pa.field("key", KEY, nullable=False)])
PAIRS = pa.schema([pa.field("a", KEY, nullable=False), pa.field("b", KEY, nullable=False)])


class Candidate(NamedTuple):
    """A conversation as near-duplicates are ranked, the smallest first: one from which something can be
    learnt, then the longest, then by id and key.
    """

    useless: bool
    shortness: int
    id: str
    key: bytes


class Member(NamedTuple):
    """One conversation of a cluster of near-duplicates.

    `best` is the key of the one that stands for all, `best_id` its id, and `group` the smallest id among
    them, by which they are split, so that they keep their side when better ones are added.
    """

    key: bytes
    best: bytes
    best_id: str
    group: str
    size: int


def key_of(text_hash: str) -> bytes:
    """The key of a text with this sha256."""
    return bytes.fromhex(text_hash[:32])


def signatures(texts: Sequence[str], ngram: int, size: int) -> NDArray[np.uint32]:
    """The MinHash signatures of N texts, (N, size). Equal on all machines."""
    from rensa import RMinHash

    found = [np.zeros((0, size), np.uint32)]
    for start in range(0, len(texts), BATCH):
        grams = hash_ngrams(hash_words(texts[start : start + BATCH]), ngram)
        offsets = grams.offsets.astype(np.uint64)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(grams.hashes, offsets, size, SEED)
        found.append(np.array(matrix.to_rows(), np.uint32).reshape(-1, size))
    return np.concatenate(found)


def band_table(keys: Sequence[bytes], texts: Sequence[str], config: NearDuplicateConfig) -> pa.Table:
    """Rows of BANDS: `config.bands` for each text that has any words."""
    signatures_NH = signatures(texts, config.ngram, config.bands * config.rows)
    (some,) = np.nonzero((signatures_NH != WORDLESS).any(axis=1))
    rows = signatures_NH[some].reshape(len(some), config.bands, config.rows).astype(np.uint64)
    bands = np.broadcast_to(np.arange(1, config.bands + 1, dtype=np.uint64), rows.shape[:2])
    for row in range(config.rows):
        bands = mix(bands ^ rows[:, :, row])
    own = np.repeat(some, config.bands)
    return pa.table([pa.array(bands.ravel()), pa.array(keys, KEY).take(pa.array(own))], schema=BANDS)


def candidate_pairs(rows: pa.Table) -> pa.Table:
    """PAIRS to compare, each once, among rows of BANDS that hold every band they hold any of whole."""
    rows = rows.sort_by([("band", "ascending"), ("key", "ascending")])
    bands, keys = rows["band"].to_numpy(), rows["key"].to_pylist()
    edges = np.flatnonzero(bands[1:] != bands[:-1]) + 1
    found: set[tuple[bytes, bytes]] = set()
    for start, end in zip([0, *edges], [*edges, len(keys)], strict=True):
        bucket = keys[start:end]
        if len(bucket) <= CROWD:
            found.update(combinations(bucket, 2))
        else:
            found.update((bucket[0], other) for other in bucket[1:])
            found.update(pairwise(bucket))
    return pairs_table(sorted(found))


def pairs_table(pairs: Sequence[tuple[bytes, bytes]]) -> pa.Table:
    """Pairs of keys as a table of PAIRS."""
    columns = [pa.array([pair[side] for pair in pairs], KEY) for side in (0, 1)]
    return pa.table(columns, schema=PAIRS)


def sketches(texts: Sequence[str], config: NearDuplicateConfig) -> NDArray[np.uint8]:
    """What N texts are compared by, (N, SKETCH)."""
    return signatures(texts, config.ngram, SKETCH).astype(np.uint8)


def jaccard(a_NS: NDArray[np.uint8], b_NS: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Estimates of what share of their n-grams N pairs of texts have in common, from their sketches."""
    agreeing = (a_NS == b_NS).mean(axis=1)
    estimate: NDArray[np.float64] = (agreeing - STRANGERS) / (1 - STRANGERS)
    return estimate


def clusters(
    candidates: Sequence[Candidate],
    sketches_NS: NDArray[np.uint8],
    pairs: Sequence[tuple[bytes, bytes]],
    threshold: float,
) -> list[Member]:
    """The members of the connected components of the pairs that are alike, sorted by key."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    number = {candidate.key: index for index, candidate in enumerate(candidates)}
    ends = np.array([(number[a], number[b]) for a, b in pairs], np.int64).reshape(-1, 2)
    alike = np.zeros(len(ends), np.bool_)
    for start in range(0, len(ends), 4096):  # so that memory does not grow with the pairs
        a, b = ends[start : start + 4096].T
        alike[start : start + 4096] = jaccard(sketches_NS[a], sketches_NS[b]) >= threshold
    a, b = ends[alike].T
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(len(candidates), len(candidates)))
    labels = connected_components(graph, directed=False)[1]
    components: dict[int, list[Candidate]] = {}
    for candidate, label in zip(candidates, labels.tolist(), strict=True):
        components.setdefault(label, []).append(candidate)
    members = []
    for component in components.values():
        if len(component) > 1:
            best, group = min(component), min(candidate.id for candidate in component)
            members += [Member(one.key, best.key, best.id, group, len(component)) for one in component]
    return sorted(members)
