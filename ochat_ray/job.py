"""The submitted Ray job whose driver this process is: its name, and what it made as its metadata."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from dataclasses import replace

CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in what `ray job submit` starts."""


def submission_id() -> str | None:
    """Of this job; None for what was not submitted."""
    config = json.loads(os.environ.get(CONFIG) or "{}")
    name: str | None = config.get("metadata", {}).get("job_submission_id")
    return name


def tell_job(**facts: object) -> None:
    """Add what the job made to its metadata, which `ray list jobs --detail` and the dashboard show; values
    that are no texts become JSON. Elsewhere than in a submitted job it does nothing.

    Ray sets metadata only with a submission and has no call for it later: this writes the record that its
    own job client reads. Where that fails nothing is raised: the job's log and its output say the same.
    """
    name, address = submission_id(), os.environ.get("RAY_ADDRESS")
    if name is None or address is None:
        return
    told = {key: one if isinstance(one, str) else json.dumps(one) for key, one in facts.items()}

    async def add() -> None:
        from ray._raylet import GcsClient  # type: ignore[attr-defined]
        from ray.dashboard.modules.job.common import JobInfoStorageClient

        records = JobInfoStorageClient(GcsClient(address=address))
        info = await records.get_info(name)
        if info is not None:
            await records.put_info(name, replace(info, metadata={**(info.metadata or {}), **told}))

    with suppress(Exception):  # work that is done does not fail for this
        asyncio.run(add())
