"""Stage 1: units of input files to parts of cleaned conversations and rejects."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from ochat_ray.conversation import Conversation, Rejected
from ochat_ray.data.clean.conversation import Cleaned, clean
from ochat_ray.data.examples import chosen, example_in, is_among
from ochat_ray.data.read.documents import Document, Found, Ignored, documents, size_of
from ochat_ray.data.read.units import InputFile, Piece, Unit, split
from ochat_ray.data.records import part_table
from ochat_ray.data.report.schema import Example
from ochat_ray.data.stages.job import Job, runs, write_table
from ochat_ray.manifest import digest, json_bytes

# Of one part, whichever comes first: what is in memory, and what a crash can lose of a long stream.
PART_DOCUMENTS = 1000
PART_BYTES = 2**25


def file_name(file: InputFile) -> str:
    """Where the pieces of a big file are kept: another file, another name."""
    return f"{digest(file)[:32]}.json"


def unit_name(unit: Unit) -> str:
    """What the parts of a unit are called: other files or pieces, another name."""
    return digest([list(piece) for piece in unit])[:32]


def split_files(files: pa.Table, job: Job) -> pa.Table:
    """Cut big files (column `file`, pickled) into pieces, which are kept; returns the bytes looked at."""
    sizes = []
    for data in files["file"].to_pylist():
        file: InputFile = pickle.loads(data)
        pieces = split(job.source, file, job.config.task_mb * 2**20)
        # Plain ASCII: names of files may be no UTF-8.
        job.output.write(job.path("split", file_name(file)), json.dumps(pieces).encode())
        sizes.append(file.size)
    return pa.table({"bytes": sizes})


def pieces_of(file: InputFile, job: Job) -> list[Piece]:
    """The pieces that `split_files` cut a file into."""
    found = job.done("split", file_name(file))
    return [Piece(*file, *piece[len(file) :]) for piece in found]


def examples_of(mark: dict[str, Any]) -> list[Example]:
    """The examples that are kept with a part or a unit. Of a smaller input, some more would be looked at."""
    return [Example(**one) for one in mark["examples"]]


def clean_units(units: pa.Table, job: Job) -> Iterator[pa.Table]:
    """Clean units (column `unit`, pickled) and write their parts; yields what was done, part by part."""
    for data in units["unit"].to_pylist():
        yield from _clean_unit(pickle.loads(data), job)


def _clean_unit(unit: Unit, job: Job) -> Iterator[pa.Table]:
    name = unit_name(unit)
    total: dict[str, Any] = {"parts": 0, "documents": 0, "ignored": 0}
    examples: tuple[Example, ...] = ()
    size = sum(piece.bytes for piece in unit)
    told = 0
    for number, found in enumerate(_parts(unit, job)):
        part = f"{name}-{number:05}"
        done = job.done("clean", f"{part}.json")
        if done is None:
            done = _write_part([document for document, _ in found], part, job)
        for key in ("documents", "ignored"):
            total[key] += done[key]
        examples = chosen([*examples, *examples_of(done)])
        total["parts"] += 1
        read = found[-1][1]
        yield pa.table({"bytes": [read - told], "documents": [done["documents"]]})
        told = read
    total["examples"] = _as_json(examples)
    job.output.write(job.path("clean", f"{name}.json"), json_bytes(total))
    yield pa.table({"bytes": [size - told], "documents": [0]})


def _parts(unit: Unit, job: Job) -> Iterator[list[tuple[Found, int]]]:
    return runs(_progressing(unit, job), PART_DOCUMENTS, PART_BYTES, lambda one: size_of(one[0]))


def _progressing(unit: Unit, job: Job) -> Iterator[tuple[Found, int]]:
    """The documents of a unit, each with about how many bytes of it were read by then."""
    before = 0
    for piece in unit:
        for found, position in documents(job.source, piece):
            yield found, before + position
        before += piece.bytes


def _write_part(found: list[Found], part: str, job: Job) -> dict[str, Any]:
    documents = [one for one in found if not isinstance(one, Ignored)]
    records: list[Conversation | Rejected] = []
    examples: list[Example] = []
    for document in documents:
        if isinstance(document, Document):
            cleaned = clean(document, job.config.filters, job.questions)
            records.append(cleaned.record)
            examples += _examples(cleaned, len(documents), job)
        else:
            records.append(document)
    write_table(job.output, job.path("clean", f"{part}.parquet"), part_table(records))
    done = {
        "documents": len(documents),
        "ignored": len(found) - len(documents),
        "examples": _as_json(chosen(examples)),
    }
    job.output.write(job.path("clean", f"{part}.json"), json_bytes(done))
    return done


def _examples(cleaned: Cleaned, documents: int, job: Job) -> list[Example]:
    if not isinstance(cleaned.record, Conversation) or cleaned.source is None:
        return []
    if not is_among(cleaned.record.id, documents):
        return []
    found = example_in(cleaned.record, cleaned.source, job.config.filters.personal_data)
    return [found] if found else []


def _as_json(examples: Sequence[Example]) -> list[dict[str, Any]]:
    return [example.model_dump(mode="json") for example in examples]
