"""From saved chats to a prepared folder, on Ray Data. The only module of the data stage that knows Ray, which
is imported where it is needed: a plan is made, and wrong ones are refused, before Ray is started.

Stages, each a set of files that a later run finds and does not make again: clean units of input into parts;
bring the copies of each text together (a shuffle into shards); find near-duplicates, if that is wanted;
finish the shards; report. The driver sees nothing but counts.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from ochat_ray import metrics
from ochat_ray.config import Recipe
from ochat_ray.data.examples import chosen, is_among
from ochat_ray.data.facts import add_counts
from ochat_ray.data.filters import Questions
from ochat_ray.data.outcome import nothing_held_out
from ochat_ray.data.read.find import Inputs, find_inputs
from ochat_ray.data.read.formats import Kind
from ochat_ray.data.read.units import Piece, splits, units, whole
from ochat_ray.data.records import PART
from ochat_ray.data.report.schema import Example
from ochat_ray.data.stages import clean, distinct, finish, near, report
from ochat_ray.data.stages.job import Job, told
from ochat_ray.data.targets import Target, load_targets
from ochat_ray.data.workspace import close, code_version, filling, open_output
from ochat_ray.manifest import digest, file_facts, versions, write_manifest
from ochat_ray.progress import Progress, say
from ochat_ray.storage import Storage, is_remote, storage

SMALL = 100_000  # documents that one worker brings together before a shuffle's workers have started
POINTS = 2000  # conversations on the report's map, about
OUTPUTS = ("clean", "rejected", "tokens", "openchat", "report.html", "report.json")
MB = 10**6


def prepare(
    inputs: Sequence[str | Path],
    output: str | Path,
    recipe: Recipe,
    bases: Sequence[str | Path],
    *,
    kind: Kind | None = None,
) -> dict[str, Any]:
    """Clean, judge, deduplicate, split and tokenise the chats that `inputs` name; returns the manifest.

    `bases` are Hugging Face folders whose tokenizers have their model types' special tokens (`load_targets`).
    A run that was interrupted is taken up where it stopped; a finished one is not repeated. The files are the
    same, byte for byte, for any number of workers. Needs an initialised Ray.

    Raises DataError for unusable input or output folders, CheckpointError for an unusable base.
    """
    return carry_out(plan(inputs, output, recipe, bases, kind=kind))


class Plan(NamedTuple):
    """A preparation that can begin: what goes in, where it goes, and all that decides what is made of it.

    `finished` is the manifest, where all of it was done before.
    """

    found: Inputs
    folder: Storage
    recipe: Recipe
    targets: tuple[Target, ...]
    questions: Questions
    facts: dict[str, Any]
    finished: dict[str, Any] | None


def plan(
    inputs: Sequence[str | Path],
    output: str | Path,
    recipe: Recipe,
    bases: Sequence[str | Path],
    *,
    kind: Kind | None = None,
) -> Plan:
    """What `prepare` would do. Needs no Ray, and raises what can be told before it is started."""
    folder = storage(output)
    found = find_inputs([str(text) for text in inputs], kind, leave_out=[output, *_folders(bases)])
    if found.left_out:
        say(f"left out: {len(found.left_out):,} files, such as {found.left_out[0]}")
    targets = load_targets(recipe, bases)
    questions = Questions.load(recipe.data.filters.decontamination, _read_anywhere)
    facts = facts_of(found, kind, recipe, targets, questions)
    finished = open_output(folder, facts)
    if finished is not None:
        say(f"{folder.location}: already prepared from these files with these settings; nothing to do")
    return Plan(found, folder, recipe, targets, questions, facts, finished)


def carry_out(planned: Plan) -> dict[str, Any]:
    """Do what is planned, unless it is done; returns the manifest. Needs an initialised Ray."""
    found, folder, recipe, targets, questions, facts, finished = planned
    if finished is not None:
        return finished
    with filling(folder, facts, _digests(facts), OUTPUTS) as stages, settings():
        job = Job(found.folder, folder, stages, recipe.data, questions, targets)
        done = _clean(found, job)
        shards = max(1, -(-done["documents"] // recipe.data.rows_per_shard))
        points = min(1.0, POINTS / max(done["documents"], 1))
        job = replace(job, shards=shards, points=points)
        _distinct(done["parts"], done["documents"], job)
        _near(done["documents"], job)
        for target in targets:
            say(f"{target.name}: tokenising with {target.encoder().backend}")
        files, counts = _finish(done["documents"], job)
        files |= _write_tokenizers(job)
        _report(job, facts, done["examples"])
        files |= job.done("finish", report.NAME)["files"]
        counts["ignored"] = done["ignored"]
        assert counts["documents"] == done["documents"], counts
        assert counts["kept"] + sum(counts["rejected"].values()) == counts["documents"], counts
        if recipe.data.eval_fraction and nothing_held_out(counts):
            say(f"no conversation is held out: raise data.eval_fraction ({recipe.data.eval_fraction})")
        manifest = write_manifest(folder, files, {**facts, "counts": counts})
        close(folder)
        return manifest


def facts_of(
    found: Inputs, kind: Kind | None, recipe: Recipe, targets: Sequence[Target], questions: Questions
) -> dict[str, Any]:
    """Everything that decides the output, by name; `source` decides the title of the report alone."""
    data = recipe.data.model_dump(mode="json", exclude={"task_mb"})  # how the work is cut up changes nothing
    return {
        "kind": "prepared",
        "source": found.named,
        "format": kind,
        "inputs": digest(found.files),
        "questions": questions.digest,
        "model_types": {target.name: target.model_type.model_dump(mode="json") for target in targets},
        "max_tokens": {target.name: target.max_tokens for target in targets},
        "template_hash": {target.name: target.template().hash for target in targets},
        "tokenizer_hash": {target.name: target.template().tokenizer.hash for target in targets},
        "recipe": {"name": recipe.name, "data": data},
    }


def _digests(facts: Mapping[str, Any]) -> dict[str, str]:
    """What decides the results of each stage: that of the stages before it, and some facts more."""
    data = facts["recipe"]["data"]
    filters = {name: value for name, value in data["filters"].items() if name != "models"}
    # The names of cleaned parts say which files they are of: runs over other inputs can share them.
    clean = digest([code_version(), filters, facts["questions"]])
    copies = [data["filters"]["models"], data["rows_per_shard"]]
    # What rows a conversation makes: of copies, the best is one that makes any.
    copies += [data["classes"], data["long_conversations"]]
    copies += [facts[name] for name in ("model_types", "max_tokens", "template_hash", "tokenizer_hash")]
    distinct = digest([clean, facts["inputs"], facts["format"], copies])
    near = digest([distinct, data["near_duplicates"]])
    finish = digest([near, facts, versions()])
    return {"split": code_version(), "clean": clean, "distinct": distinct, "near": near, "finish": finish}


def _folders(bases: Sequence[str | Path]) -> list[str]:
    return [str(base).rpartition("=")[2] for base in bases]


def _read_anywhere(path: str) -> bytes:
    """A file by its path or URI. Raises OSError."""
    parent, _, name = (path if is_remote(path) else str(Path(path).absolute())).rpartition("/")
    with storage(parent or "/").open(name) as file:
        return file.read()


def _clean(found: Inputs, job: Job) -> dict[str, Any]:
    """Clean all units whose mark is not there yet; returns counts, and the names of all parts."""
    pending = {clean.unit_name(unit): unit for unit in units(_pieces(found, job), job.config.task_mb * MB)}
    marks = _names(job, "clean")
    todo = [unit for name, unit in pending.items() if f"{name}.json" not in marks]
    total, left = (
        sum(piece.bytes for unit in some for piece in unit) / MB for some in (pending.values(), todo)
    )
    with Progress("clean", total=total, unit="MB", start=total - left) as progress:
        rows = [pa.table({"unit": [pickle.dumps(unit)]}) for unit in todo]
        documents = 0
        for counts in run(rows, clean.clean_units, job):
            came = sum(counts["documents"].to_pylist())
            metrics.documents("clean", came)
            documents += came
            progress.update(sum(counts["bytes"].to_pylist()) / MB, f"{documents:,} documents")
    return cleaned(pending, job)


def cleaned(names: Iterable[str], job: Job) -> dict[str, Any]:
    """What the marks of units say together."""
    documents = ignored = 0
    examples: tuple[Example, ...] = ()
    parts: list[str] = []
    for name in names:
        mark = job.done("clean", f"{name}.json")
        documents += mark["documents"]
        ignored += mark["ignored"]
        examples = chosen([*examples, *clean.examples_of(mark)])
        parts += [f"{name}-{part:05}.parquet" for part in range(mark["parts"])]
    examples = tuple(example for example in examples if is_among(example.id, documents))
    return {"documents": documents, "ignored": ignored, "examples": examples, "parts": parts}


def _pieces(found: Inputs, job: Job) -> list[Piece]:
    """All files as pieces, in order; big ones are cut up by workers, as that means to read them."""
    task_bytes = job.config.task_mb * MB
    big = [file for file in found.files if splits(file, task_bytes)]
    names = _names(job, "split") if big else set()
    missing = [file for file in big if clean.file_name(file) not in names]
    if missing:
        with Progress("look into big files", total=sum(f.size for f in missing) / MB, unit="MB") as progress:
            rows = [pa.table({"file": [pickle.dumps(file)]}) for file in missing]
            for counts in run(rows, clean.split_files, job):
                progress.update(sum(counts["bytes"].to_pylist()) / MB)
    return [
        piece
        for file in found.files
        for piece in (clean.pieces_of(file, job) if file in big else [whole(file)])
    ]


def _distinct(parts: Sequence[str], documents: int, job: Job) -> None:
    """Bring all copies of each text into one shard, for all shards that are not there yet."""
    finished = _finished(job, "distinct")
    done = sum(
        job.done("distinct", f"{distinct.shard_name(number)}.json")["documents"] for number in finished
    )
    with Progress("deduplicate", total=documents, unit="documents", start=done) as progress:
        if done == documents:
            tables: Iterator[pa.Table] = iter(())
        elif documents <= SMALL:
            tables = run([pa.table({"part": list(parts)})], distinct.gather, job, finished=finished)
        else:
            rows = _map(_one_by_one("part", parts), distinct.read_parts, job=job, finished=finished)
            # All rows of a shard come into one block, which may hold several shards.
            shards = rows.repartition(job.shards, keys=["shard"])
            tables = _blocks(_map(shards, distinct.write_shards, job=job))
        for counts in tables:
            came = sum(counts["documents"].to_pylist())
            metrics.documents("deduplicate", came)
            progress.update(came)
    for number in set(range(job.shards)) - _finished(job, "distinct"):
        distinct.write_shard(PART.empty_table(), number, job)  # no document fell into it


def _near(documents: int, job: Job) -> None:
    """Find near-duplicates, if that is wanted."""
    if job.config.near_duplicates.action == "off" or "done.json" in (names := _names(job, "near")):
        return
    with Progress("find near-duplicates", total=3, unit="steps") as progress:
        if near.PAIRS_FILE not in names:
            _find_pairs(documents, job)
        progress.update(1)
        made = _finished(job, "near/candidates", kind="parquet")
        missing = [_shard(number) for number in range(job.shards) if number not in made]
        for _ in run(missing, near.candidates_of, job):
            pass
        progress.update(1)
        for _ in run([_shard(0)], near.join_clusters, job):
            pass
        progress.update(1)


def _find_pairs(documents: int, job: Job) -> None:
    import ray.data

    shards = range(job.shards)
    if documents <= SMALL:
        bands = _map(ray.data.from_arrow(pa.table({"shard": list(shards)})), near.bands_of, job=job)
    else:
        bands = _map(_one_by_one("shard", shards), near.bands_of, job=job)
        bands = bands.repartition(job.shards, keys=["band"])
    pairs = _map(bands, near.pairs_in).repartition(1)
    for _ in _blocks(_map(pairs, near.write_pairs, job=job)):
        pass
    if near.PAIRS_FILE not in _names(job, "near"):
        near.write_pairs(near.NO_PAIRS, job)


def _finish(documents: int, job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    """Finish all shards that are not finished yet. Returns what to say of the files, and all counts."""
    finished = _finished(job, "finish")
    with Progress("tokenise", total=documents, unit="documents") as progress:
        todo = [_shard(number) for number in range(job.shards) if number not in finished]
        for counts in run(todo, finish.finish_shards, job):
            for one in counts.to_pylist():
                metrics.judged(one["documents"], dict(one["rejected"]))
                metrics.documents("tokenise", one["documents"])
                progress.update(one["documents"])
    facts = [job.done("finish", f"{distinct.shard_name(number)}.json") for number in range(job.shards)]
    files = {name: about for one in facts for name, about in one["files"].items()}
    return files, add_counts(one["counts"] for one in facts)


def _write_tokenizers(job: Job) -> dict[str, Any]:
    """Keep each model type's tokenizer beside its tokens, so that anybody can read them."""
    files = {}
    for target in job.targets:
        name = f"tokens/{target.name}/tokenizer.json"
        job.output.write(name, target.tokenizer.encode())
        files[name] = file_facts(target.tokenizer.encode())
    return files


def _report(job: Job, facts: dict[str, Any], examples: Sequence[Example]) -> None:
    """Write the report, and OpenChat's own files where they are wanted, unless that was done."""
    names = _names(job, "finish")
    with Progress("report", total=1, unit="pages") as progress:
        if report.NAME not in names:
            for _ in run([_shard(0)], report.write_report, job, facts=facts, examples=examples):
                progress.update(1)


def _shard(number: int) -> pa.Table:
    return pa.table({"shard": pa.array([number], pa.int32())})


def _one_by_one(name: str, values: Sequence[Any]) -> Any:
    """A dataset with a block for each value."""
    import ray.data

    return ray.data.from_arrow([pa.table({name: [value]}) for value in values])


def _names(job: Job, stage: str) -> set[str]:
    """What a stage has written, by name."""
    stage, _, below = stage.partition("/")
    folder = job.path(stage, below).rstrip("/")
    return {entry.path.removeprefix(f"{folder}/") for entry in job.output.entries(folder)}


def _finished(job: Job, stage: str, kind: str = "json") -> frozenset[int]:
    """Shards whose mark a stage has written, a file of that kind."""
    stems = (name.removesuffix(f".{kind}") for name in _names(job, stage))
    return frozenset(int(stem) for stem in stems if stem.isdecimal())


def run(rows: Sequence[pa.Table], stage: Callable[..., Any], job: Any, **more: Any) -> Iterator[pa.Table]:
    """Apply a stage to tables, a task each; yields counts as they come, also those of unfinished tasks."""
    import ray.data

    if not rows:
        return
    context = ray.data.DataContext.get_current()
    before = context.target_max_block_size
    context.target_max_block_size = 1  # every table that a stage yields becomes a block at once
    try:
        yield from _blocks(_map(ray.data.from_arrow(list(rows)), stage, job=job, **more))
    finally:
        context.target_max_block_size = before


def _map(dataset: Any, stage: Callable[..., Any], **arguments: Any) -> Any:
    """Apply a stage to whole blocks."""
    arguments["stage"] = stage
    return dataset.map_batches(told, batch_format="pyarrow", batch_size=None, fn_kwargs=arguments)


def _blocks(dataset: Any) -> Iterator[pa.Table]:
    """Run a dataset to its end."""
    tables: Iterator[pa.Table] = dataset.iter_batches(batch_size=None, batch_format="pyarrow")
    return tables


@contextmanager
def settings() -> Iterator[None]:
    """Ray Data without progress bars and remarks of its own, and with shuffles whose memory is bounded."""
    import ray.data

    context = ray.data.DataContext.get_current()
    logger = logging.getLogger("ray.data")
    ours = {
        "enable_progress_bars": False,
        "print_on_execution_start": False,
        "shuffle_input_batch_bytes": 64 * 2**20,  # 1 GiB by default, which a worker then holds
    }
    before = {name: getattr(context, name) for name in ours}
    level = logger.level
    try:
        for name, value in ours.items():
            setattr(context, name, value)
        logger.setLevel(logging.CRITICAL)  # errors come as exceptions
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
        logger.setLevel(level)
