"""Questions of benchmarks, in what people asked or were answered.

A message is turned away for `ngram` words in a row that stand in a question, or for the whole of a shorter
one. Each such run of words is kept under its first few; messages are searched for those, and where some
stand, word by word. Nothing is made a number of, so nothing can collide.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from ochat_ray.config.filters import DecontaminationConfig
from ochat_ray.conversation import Message
from ochat_ray.data.filters.reason import Reason
from ochat_ray.data.filters.text import UNSPACED
from ochat_ray.errors import DataError

Words = tuple[str, ...]
FIELDS = ("text", "turns", "instruction", "question", "prompt")
WORD = re.compile(f"[{UNSPACED}]|[^\\W_{UNSPACED}]+")


class Question(NamedTuple):
    """The words of a question, and the file and place it stands in."""

    words: Words
    place: str


@dataclass(frozen=True)
class Questions:
    """What `contaminated` looks for; none where there are no files."""

    digest: str = ""
    """SHA-256 of the questions' words in order, and of `ngram`: the same in every process."""
    questions: tuple[Question, ...] = field(default=(), compare=False, repr=False)
    ngram: int = field(default=0, compare=False)

    NONE: ClassVar[Questions]

    @classmethod
    def load(cls, config: DecontaminationConfig, read: Callable[[str], bytes]) -> Questions:
        """The questions in `config.files`, whose bytes `read` gives.

        Raises DataError naming the file, the line and the remedy where one cannot be read or used.
        """
        places: dict[Words, str] = {}
        for name in config.files:
            found = [(split_words(text), place) for text, place in _questions(name, read)]
            usable = [one for one in found if len(one[0]) >= config.min_words]
            if not usable:
                fewest = f"filters.decontamination.min_words = {config.min_words}"
                raise _unusable(name, f"has no question of {fewest} words or more")
            for words, place in usable:
                places.setdefault(words, f"{name}, {place}")
        questions = tuple(Question(words, place) for words, place in places.items())
        if not questions:
            return cls.NONE
        digest = hashlib.sha256(json.dumps([config.ngram, list(places)]).encode()).hexdigest()
        return cls(digest, questions, config.ngram)


Questions.NONE = Questions()


class Run(NamedTuple):
    """Words in a row that no message may hold, and the number of the question they are of."""

    words: Words
    question: int


class Index(NamedTuple):
    """Runs by their first `key_length` words."""

    key_length: int
    runs: dict[Words, list[Run]]


def contaminated(messages: tuple[Message, ...], questions: Questions) -> Reason | None:
    """A message, whoever's, with the words of a question."""
    if not questions.questions:
        return None
    for number, message in enumerate(messages, 1):
        run = _first_run(split_words(message.content), _index(questions))
        if run is not None:
            place = questions.questions[run.question].place
            shared = f"{' '.join(run.words)!r} with a question ({place})"
            return Reason("contaminated", f"message {number} ({message.role}) shares {shared}")
    return None


def split_words(text: str) -> Words:
    """The runs of letters and digits, casefolded in Unicode's compatibility form."""
    return tuple(WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


@lru_cache(maxsize=4)
def _index(questions: Questions) -> Index:
    """Built in each process: an index takes ten times the bytes of its questions."""
    key_length = min(min(len(question.words), questions.ngram) for question in questions.questions)
    runs: defaultdict[Words, list[Run]] = defaultdict(list)
    for number, question in enumerate(questions.questions):
        length = min(len(question.words), questions.ngram)
        for start in range(len(question.words) - length + 1):
            words = question.words[start : start + length]
            runs[words[:key_length]].append(Run(words, number))
    return Index(key_length, dict(runs))


def _first_run(words: Words, index: Index) -> Run | None:
    if index.runs.keys().isdisjoint(zip(*(words[start:] for start in range(index.key_length)), strict=False)):
        return None  # nearly always, and found out in C
    for start in range(len(words)):
        for run in index.runs.get(words[start : start + index.key_length], ()):
            if words[start : start + len(run.words)] == run.words:
                return run
    return None


def _questions(name: str, read: Callable[[str], bytes]) -> Iterator[tuple[str, str]]:
    """Each question of a file after the line or item it stands in."""
    try:
        text = read(name).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(name, f"cannot be read ({error})") from error
    found = False
    try:
        for place, value in _values(name, text):
            for question in _texts(value):
                found = True
                yield question, place
    except RecursionError as error:
        raise _unusable(name, "is nested too deeply") from error
    if not found:
        raise _unusable(name, f"has none of the fields {', '.join(FIELDS)}")


def _values(name: str, text: str) -> Iterator[tuple[str, Any]]:
    """The items of a JSON list, or the lines of JSON Lines."""
    if text.lstrip().startswith("["):
        items = _parsed(name, text, "it")
        yield from ((f"item {number}", item) for number, item in enumerate(items, 1))
        return
    try:
        yield "its only item", json.loads(text)
    except ValueError:
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield f"line {number}", _parsed(name, line, f"line {number}")


def _parsed(name: str, text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _unusable(name, f"cannot be read: {what} is not JSON ({error})") from error


def _texts(value: Any) -> Iterator[str]:
    """The text of every field that holds a question, however deep in an item."""
    if isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            texts = inner if isinstance(inner, list) else [inner]
            if key in FIELDS and all(isinstance(text, str) for text in texts):
                yield from texts
            else:
                yield from _texts(inner)


def _unusable(name: str, why: str) -> DataError:
    remedy = "give JSON Lines or JSON with questions, or take it out of filters.decontamination.files"
    return DataError(f"{name} {why}; {remedy}")
