"""Models' answers to questions: asked turn by turn, or read from files of others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ochat_ray.config.eval import EndpointConfig
from ochat_ray.errors import DataError
from ochat_ray.eval.asking.asker import Asker, NotAnswered, Refused, each
from ochat_ray.eval.asking.exchange import Ask, Missing, Reply, request_of
from ochat_ray.eval.asking.ledger import Ledger
from ochat_ray.eval.formats import alpaca, fastchat, vicuna
from ochat_ray.eval.names import file_name
from ochat_ray.eval.records import Answer, Question, read_records
from ochat_ray.exported import weights_mark
from ochat_ray.json_lines import read_json_lines, write_json_lines
from ochat_ray.progress import Progress

TEMPERATURE = 0.7
# MT-bench's (Zheng et al. 2023): what has one right answer is not left to chance.
TEMPERATURES = {
    "writing": 0.7,
    "roleplay": 0.7,
    "extraction": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "reasoning": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}
REPLY_TOKENS = 400
"""Of an answer, about, before any is known; for estimates."""

Answers = dict[str, Answer]
"""A model's answers by question."""


def next_ask(endpoint: EndpointConfig, question: Question, replies: Sequence[str]) -> Ask:
    """What to ask after the replies to the first turns."""
    messages = []
    for turn, text in enumerate(question.turns[: len(replies) + 1]):
        messages.append({"role": "user", "content": text})
        messages += [{"role": "assistant", "content": reply} for reply in replies[turn : turn + 1]]
    temperature = TEMPERATURES.get(question.category, TEMPERATURE)
    request = request_of(endpoint, messages, temperature=temperature)
    return Ask(endpoint.name, request, weights=weights_mark(endpoint.folder) if endpoint.folder else "")


def known_replies(endpoint: EndpointConfig, question: Question, ledger: Ledger) -> list[tuple[Ask, Reply]]:
    """What the ledger knows of a conversation: its first turns, maybe all."""
    found: list[tuple[Ask, Reply]] = []
    while len(found) < len(question.turns):
        ask = next_ask(endpoint, question, [reply.text for _, reply in found])
        reply = ledger.get(ask)
        if reply is None:
            break
        found.append((ask, reply))
    return found


def asks_to_expect(endpoint: EndpointConfig, questions: Iterable[Question], ledger: Ledger) -> list[Ask]:
    """All requests of all conversations, for an estimate: what is not answered yet is thought of as long as
    answers are."""
    found = []
    for question in questions:
        known = [reply.text for _, reply in known_replies(endpoint, question, ledger)]
        for turn in range(len(question.turns)):
            so_far = known[:turn] + [middling()] * max(0, turn - len(known))
            found.append(next_ask(endpoint, question, so_far))
    return found


def middling() -> str:
    """As long as an answer is, about."""
    return "word " * (REPLY_TOKENS * 4 // 5)


async def ask_answers(asker: Asker, questions: Sequence[Question]) -> list[Missing]:
    """Ask a model all questions; what it says is in the ledger. Returns what got no reply."""
    name = asker.endpoint.name
    missing: list[Missing] = []
    with Progress(f"answers of {name}", total=len(questions), unit="questions") as progress:

        async def converse(question: Question) -> None:
            replies: list[str] = []
            try:
                while len(replies) < len(question.turns):
                    replies.append((await asker.ask(next_ask(asker.endpoint, question, replies))).text)
            except NotAnswered as error:
                what = turn_of(question, len(replies) + 1)
                missing.append(Missing(name, what, str(error), isinstance(error, Refused)))
            progress.update(1, _note(missing))

        await each(questions, converse, asker.endpoint.concurrency)
    return missing


def collect(
    endpoint: EndpointConfig, questions: Iterable[Question], ledger: Ledger, path: Path | None = None
) -> Answers:
    """The whole conversations in the ledger; with a path also written, with what each reply took."""
    answers: Answers = {}
    rows = []
    for question in questions:
        known = known_replies(endpoint, question, ledger)
        if len(known) < len(question.turns):
            continue
        answer = Answer(question.id, endpoint.name, tuple(reply.text for _, reply in known))
        answers[question.id] = answer
        took = [{"request": ask.request, **_took(reply)} for ask, reply in known]
        rows.append({**asdict(answer), "replies": took})
    if path is not None:
        write_json_lines(path, rows)
    return answers


def turn_of(question: Question, turn: int) -> str:
    """What a request is for, for people."""
    return f"question {question.id}, turn {turn}"


def answers_path(folder: Path, name: str) -> Path:
    """Where a model's answers lie."""
    return folder / "answers" / f"{file_name(name)}.jsonl"


def read_answers(path: Path) -> dict[str, Answers]:
    """Answers of a file by model: of another evaluation, FastChat's, Vicuna's or alpaca_eval's.

    Raises DataError with file, line or entry, and field.
    """
    if path.suffix == ".json":
        return _by_model(path, alpaca.read_outputs(path))
    first: Mapping[str, object] = next((row for _, row in read_json_lines(path)), {})
    if "choices" in first:
        return _by_model(path, fastchat.read_answers(path))
    if "answer_id" in first:
        return _by_model(path, vicuna.read_answers(path).values())
    return _by_model(path, read_records(Answer, path))


def _by_model(path: Path, answers: Iterable[Answer]) -> dict[str, Answers]:
    found: dict[str, Answers] = {}
    for answer in answers:
        of_model = found.setdefault(answer.model, {})
        if answer.question in of_model:
            raise DataError(f"{path}: {answer.model} answers question {answer.question} twice; keep one")
        of_model[answer.question] = answer
    if not found:
        raise DataError(f"{path}: no answer in it")
    return found


def _took(reply: Reply) -> dict[str, object]:
    return {
        "finish_reason": reply.finish_reason,
        "input_tokens": reply.input_tokens,
        "output_tokens": reply.output_tokens,
        "seconds": reply.seconds,
    }


def _note(missing: Sequence[Missing]) -> str:
    return f"{len(missing):,} missing" if missing else ""
