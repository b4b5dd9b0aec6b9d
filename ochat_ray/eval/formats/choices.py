"""Multiple choice as the later OpenChat suite answers it: the first capital letter of the reply."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from ochat_ray.errors import DataError

# OpenChat (ochat/evaluation): formats whose answers are matched so. Whether the letter is one of the choices
# is not asked: "Passage A ..." answers P, and so is wrong.
CAPITAL = re.compile(r"[A-Z]")


class Task(NamedTuple):
    """Replies of a model to a task, the right letters, and the accuracy that came with them (0 to 1)."""

    name: str
    replies: tuple[str, ...]
    labels: tuple[str, ...]
    accuracy: float | None = None


def match_choice(reply: str) -> str:
    """The answer in a reply: its first capital letter, or nothing."""
    found = CAPITAL.search(reply)
    return found.group() if found else ""


def accuracy(replies: tuple[str, ...], labels: tuple[str, ...]) -> float:
    """Share of replies whose letter is right. Raises DataError unless there are as many labels as replies."""
    if len(replies) != len(labels) or not labels:
        raise DataError(f"{len(replies)} replies and {len(labels)} labels: expected as many, at least one")
    return sum(map(lambda reply, label: match_choice(reply) == label, replies, labels)) / len(labels)


def read_tasks(path: Path) -> list[Task]:
    """OpenChat's results: {task: {responses, answers, labels, accuracy}}."""
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
        return [
            Task(name.rsplit("/", 1)[-1], tuple(one["responses"]), tuple(one["labels"]), one.get("accuracy"))
            for name, one in tasks.items()
        ]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the path of a file") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: {error!r}: expected {{task: {{responses, labels}}}}") from error
