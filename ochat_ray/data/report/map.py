"""Conversations laid out on a plane by their words, and the topics they fall into. Pure, offline.

TF-IDF, a truncated SVD, Barnes-Hut t-SNE for the plane, k-means for the topics, all of them scikit-learn's.
t-SNE makes large differences of small ones, and linear algebra rounds differently with the number of threads
and the kind of CPU. So all runs on one thread, and what comes out of BLAS is rounded before t-SNE sees it.

Letters of shapes: N texts, W words of the vocabulary, D dimensions of the SVD, K topics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ochat_ray.data.report.words import STOP_WORDS, words

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TEXT_CHARS = 2000
"""Characters of a text that are looked at."""
NO_WORDS = "(no common words)"
"""Name of the topic of texts that share no word with others."""

_MOST_TOPICS = 14
_DIMENSIONS = 50
_PERPLEXITY = 30
_PLANE_WEIGHT = 2.0
_NAME_WORDS = 5
_FEW_TEXTS = 50
_MANY_TEXTS = 1000
_ITERATIONS = 500
_HANDFUL = 5


@dataclass(frozen=True)
class Placed:
    """Where each text lies, in [0, 1] with y upwards, and its topic, an index of `topics`.

    Topics are the largest first; a name is the topic's most telling words, joined by ", ".
    """

    x: list[float]
    y: list[float]
    topic: list[int]
    topics: list[str]


def place(texts: Sequence[str], seed: int) -> Placed:
    """Lay out texts, similar ones close together. The same for the same texts and seed.

    Made for up to about 5,000 texts: it holds the distance of every text to every other one.
    """
    # Imported before the limit, which holds for the thread pools that are loaded by then.
    import sklearn.cluster
    import sklearn.manifold  # noqa: F401
    from threadpoolctl import threadpool_limits

    if not texts:
        return Placed([], [], [], [])
    with threadpool_limits(limits=1):
        counted_NW, vocabulary = _tf_idf([text[:TEXT_CHARS] for text in texts])
        space_ND = _reduce(counted_NW, seed)
        plane_N2 = _unit_square(_plane(space_ND, seed))
        topic_N = _topics(space_ND, plane_N2, seed)
        topic_N, names = _named(topic_N, counted_NW, vocabulary)
    return Placed(plane_N2[:, 0].tolist(), plane_N2[:, 1].tolist(), topic_N.tolist(), names)


def _tf_idf(texts: Sequence[str]) -> tuple[Any, list[str]]:
    """Weights of words (sparse, NW, rows of length 1 or 0) and the words. W may be 0."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

    stop = ENGLISH_STOP_WORDS | STOP_WORDS
    # Few texts do not tell which words are common; nor do copies of one text.
    fewest = 3 if len(texts) >= _MANY_TEXTS else 2
    for rare, common in [(fewest, 0.25), (1, 1.0)] if len(texts) >= _FEW_TEXTS else [(1, 1.0)]:
        vectorizer = TfidfVectorizer(
            analyzer=lambda text: [word for word in words(text) if word not in stop],
            min_df=rare,
            max_df=common,
            max_features=20_000,
            sublinear_tf=True,
        )
        try:
            counted_NW = vectorizer.fit_transform(texts)
        except ValueError:  # no word is left
            continue
        return counted_NW, vectorizer.get_feature_names_out().tolist()
    return csr_matrix((len(texts), 0)), []


def _reduce(counted_NW: Any, seed: int) -> Floats:
    """Rows of length 1 (0 where there is no word) in at most `_DIMENSIONS` dimensions."""
    from sklearn.utils.extmath import randomized_svd

    size = min(_DIMENSIONS, *counted_NW.shape)
    if size == 0:
        return np.zeros((counted_NW.shape[0], 1))
    left_ND, scale_D, _ = randomized_svd(counted_NW, size, n_iter=7, random_state=seed)
    space_ND = left_ND * scale_D
    length_N1 = np.linalg.norm(space_ND, axis=1, keepdims=True)
    space_ND = np.divide(space_ND, length_N1, out=np.zeros_like(space_ND), where=length_N1 > 1e-9)
    return np.asarray(space_ND.round(4) + 0.0, dtype=np.float64)  # + 0.0 makes -0.0 to 0.0


def _topics(space_ND: Floats, plane_N2: Floats, seed: int) -> Ints:
    """The topic of each text, in any order, -1 for texts without words.

    Looks at both spaces: in the SVD's alone, k-means makes one topic of all that is rare, here and there on
    the map; in the plane alone, it cuts through what belongs together.
    """
    from sklearn.cluster import KMeans

    worded_N = space_ND.any(axis=1)
    topic_N = np.full(len(space_ND), -1, dtype=np.int64)
    if worded_N.any():
        both = np.hstack([space_ND, _PLANE_WEIGHT * plane_N2])[worded_N]
        wanted = max(1, min(_MOST_TOPICS, round(math.sqrt(len(both) / 10))))
        clusters = min(wanted, len(np.unique(space_ND[worded_N], axis=0)))
        topic_N[worded_N] = KMeans(clusters, n_init=10, random_state=seed).fit_predict(both)
    return topic_N


def _named(topic_N: Ints, counted_NW: Any, vocabulary: Sequence[str]) -> tuple[Ints, list[str]]:
    """Topics numbered anew and named: the largest first, texts without words last."""
    found, sizes = np.unique(topic_N[topic_N >= 0], return_counts=True)
    order = found[np.argsort(-sizes, kind="stable")].tolist()
    mean_W = np.asarray(counted_NW.mean(axis=0)).ravel()
    names = [_name(counted_NW[topic_N == topic], mean_W, vocabulary) for topic in order]
    if (topic_N < 0).any():
        names.append(NO_WORDS)
    numbers = {topic: number for number, topic in enumerate(order)} | {-1: len(order)}
    return np.array([numbers[topic] for topic in topic_N.tolist()], dtype=np.int64), names


def _name(counted_TW: Any, mean_W: Floats, vocabulary: Sequence[str]) -> str:
    """The words that are frequent in these texts and less so in all."""
    here_W = np.asarray(counted_TW.mean(axis=0)).ravel()
    score_W = (here_W * np.log1p(here_W / np.maximum(mean_W, 1e-12))).round(9)
    chosen: list[str] = []
    for index in np.argsort(-score_W, kind="stable").tolist():
        word = vocabulary[index]
        if len(chosen) == _NAME_WORDS or score_W[index] <= 0:
            break
        if not any(_same(word, other) for other in chosen):
            chosen.append(word)
    return ", ".join(chosen)


def _same(one: str, other: str) -> bool:
    """Whether two words say the same in a name: forms of a word, or pairs of characters that overlap."""
    short, long = sorted((one, other), key=len)
    if len(short) > 2:
        return long.startswith(short) and len(long) - len(short) <= 2
    return len(long) == 2 and not one.isascii() and (one[0] == other[1] or one[1] == other[0])


def _plane(space_ND: Floats, seed: int) -> Floats:
    """Coordinates of each text, shape N2, in any range."""
    from sklearn.manifold import TSNE

    texts = len(space_ND)
    if texts < _HANDFUL:
        angle_N = np.arange(texts) * (2 * math.pi / texts)
        return np.stack([np.cos(angle_N), np.sin(angle_N)], axis=1) * (texts > 1)
    # Equal texts get tiny differences: which of equal distances counts as nearer depends on the CPU's sort.
    noise_ND = np.random.RandomState(seed).uniform(-1e-3, 1e-3, space_ND.shape)
    space_ND = (space_ND + noise_ND).round(7)
    square_N = (space_ND**2).sum(axis=1)
    distance_NN = np.sqrt(np.maximum(square_N[:, None] + square_N - 2 * space_ND @ space_ND.T, 0)).round(8)
    np.fill_diagonal(distance_NN, 0)
    start_N2 = space_ND[:, :2] if space_ND.shape[1] > 1 else np.hstack([space_ND, noise_ND])
    tsne = TSNE(
        metric="precomputed",
        init=(start_N2 * 1e-4 / max(float(start_N2.std()), 1e-9)).astype(np.float32),
        perplexity=min(_PERPLEXITY, (texts - 1) / 3),
        random_state=seed,
        max_iter=_ITERATIONS,  # half of the default, and neighbours stay neighbours as well
        n_jobs=1,
    )
    return np.asarray(tsne.fit_transform(distance_NN), dtype=np.float64)


def _unit_square(plane_N2: Floats) -> Floats:
    """Centred in the unit square, one scale for both axes, rounded to 4 decimals."""
    low_2, high_2 = plane_N2.min(axis=0), plane_N2.max(axis=0)
    scale = float((high_2 - low_2).max()) or 1.0
    return np.asarray(((plane_N2 - (low_2 + high_2) / 2) / scale + 0.5).clip(0, 1).round(4))
