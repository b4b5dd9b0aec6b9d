"""What cleaning makes of an input file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ochat_ray.config import FilterConfig
from ochat_ray.conversation import Conversation, Rejected
from ochat_ray.data.clean.conversation import clean
from ochat_ray.data.filters import Questions
from ochat_ray.data.read.documents import Document, documents
from ochat_ray.data.read.find import find_inputs
from ochat_ray.data.read.units import whole
from ochat_ray.inspect.choose import Choice
from ochat_ray.inspect.show import Style, turns


def show_source(path: Path, choice: Choice, style: Style) -> Iterator[str]:
    """Lines that show the first documents of a page, export or archive as the cleaning sees them.

    Raises DataError for a file of no known format.
    """
    for record in islice(_records(path, choice), choice.number):
        title = ", ".join(part for part in (record.id, record.model, record.language) if part)
        if isinstance(record, Rejected):
            title += f"\nrejected: {record.reason} ({record.detail})"
        yield from turns(title, record.messages, style)


def _records(path: Path, choice: Choice) -> Iterator[Conversation | Rejected]:
    found = find_inputs([str(path)])
    for document, _ in documents(found.folder, whole(found.files[0])):
        if isinstance(document, Document):
            record = clean(document, FilterConfig(), Questions.NONE).record
        elif isinstance(document, Rejected):
            record = document
        else:
            continue
        if _wanted(record, choice):
            yield record


def _wanted(record: Conversation | Rejected, choice: Choice) -> bool:
    if choice.id is not None and record.id != choice.id:
        return False
    if choice.rejected is None:
        return True
    return isinstance(record, Rejected) and choice.rejected in ("", record.reason)
