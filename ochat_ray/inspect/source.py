"""What cleaning makes of input files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from ochat_ray.config import FilterConfig
from ochat_ray.conversation import Conversation, Rejected
from ochat_ray.data.clean.conversation import clean
from ochat_ray.data.filters import Questions
from ochat_ray.data.read.documents import Document, documents
from ochat_ray.data.read.find import find_inputs
from ochat_ray.data.read.units import whole
from ochat_ray.errors import DataError
from ochat_ray.inspect.choose import Choice
from ochat_ray.inspect.show import Style, turns


def show_source(path: str, choice: Choice, style: Style) -> Iterator[str]:
    """Lines that show the first documents of pages, exports or archives as the cleaning sees them.

    Raises DataError for files of no known format, and for a choice or view that only prepared folders have.
    """
    if style.view == "tokens" or choice.seed is not None:
        wanted = "tokens" if style.view == "tokens" else "a choice at random"
        raise DataError(f"{path}: is no finished output, which alone has {wanted}; prepare it first")
    found = False
    for record in islice(_records(path, choice), choice.number):
        found = True
        title = ", ".join(part for part in (record.id, record.model, record.language) if part)
        if isinstance(record, Rejected):
            title += f"\nrejected: {record.reason} ({record.detail})"
        yield from turns(title, record.messages, style)
    if not found:
        raise DataError(f"{path}: has no document that is asked for; leave out --id and --rejected")


def _records(path: str, choice: Choice) -> Iterator[Conversation | Rejected]:
    found = find_inputs([path])
    for document, _ in (read for file in found.files for read in documents(found.folder, whole(file))):
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
