"""Millions of small saved pages to few Parquet files, which are listed, copied and read many times faster."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ochat_ray.data.pipeline import MB, run, settings
from ochat_ray.data.read.find import find_inputs
from ochat_ray.data.read.formats import Kind
from ochat_ray.data.read.units import units, whole
from ochat_ray.data.stages import pack as stage
from ochat_ray.data.workspace import close, code_version, filling, open_output
from ochat_ray.errors import DataError
from ochat_ray.manifest import digest, write_manifest
from ochat_ray.progress import Progress, say
from ochat_ray.storage import storage

KINDS = ("page", "tar", "zip")


def pack(
    inputs: Sequence[str | Path], output: str | Path, *, shard_mb: int = 256, kind: Kind | None = None
) -> dict[str, Any]:
    """Pack saved pages, also those in archives, into Parquet files of about `shard_mb` MB of pages each.

    They lie in `pages/`, which holds nothing else, whatever earlier, unfinished runs made.

    Their rows keep where each page came from, so that `prepare` makes the same of them as of the pages. What
    cannot be read is named in the manifest, which is returned. An interrupted run is taken up where it
    stopped. Needs an initialised Ray. Raises DataError for unusable input or output folders.
    """
    if shard_mb < 1:
        raise DataError(f"shard_mb {shard_mb}: a file takes 1 MB of pages at least")
    folder = storage(output)
    found = find_inputs([str(text) for text in inputs], kind, leave_out=[output])
    files = [file for file in found.files if file.format.kind in KINDS]
    if not files:
        raise DataError(f"{', '.join(map(str, inputs))}: no saved pages, nor archives of them, to pack")
    left_out = found.left_out + [file.path for file in found.files if file.format.kind not in KINDS]
    if left_out:
        say(f"left out, as no pages or not looked at: {len(left_out):,} files, such as {left_out[0]}")
    facts = {"kind": "packed", "source": found.folder.location, "inputs": digest(files), "shard_mb": shard_mb}
    finished = open_output(folder, facts)
    if finished is not None:
        say(f"{folder.location}: already packed from these files; nothing to do")
        return finished
    shards = units(map(whole, files), shard_mb * MB, max_files=len(files))
    digests = {"pack": digest([code_version(), facts["inputs"], shard_mb])}
    with filling(folder, facts, digests, [stage.FOLDER]) as work:
        job = stage.PackJob(found.folder, folder, work["pack"], shard_mb * MB)
        marks = {entry.path for entry in folder.entries(work["pack"])}
        todo = [i for i in range(len(shards)) if job.mark(i) not in marks]
        total = sum(file.size for file in files) / MB
        left = sum(piece.bytes for i in todo for piece in shards[i]) / MB
        with Progress("pack", total=total, unit="MB", start=total - left) as progress, settings():
            rows = [pa.table({"shard": [i], "unit": [pickle.dumps(shards[i])]}) for i in todo]
            for counts in run(rows, stage.pack_shards, job):
                progress.update(sum(counts["bytes"].to_pylist()) / MB)
        done = [job.done(i) for i in range(len(shards))]
        counts = {name: sum(mark[name] for mark in done) for name in ("pages", "ignored")}
        rejected = [one for mark in done for one in mark["rejected"]]
        made = {name: about for mark in done for name, about in mark["files"].items()}
        manifest = write_manifest(folder, made, {**facts, "counts": counts, "rejected": rejected})
        close(folder)
        return manifest
