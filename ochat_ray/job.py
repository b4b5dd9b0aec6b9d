"""What a submitted Ray job made, as its metadata."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace

from ochat_ray.errors import one_line
from ochat_ray.progress import say, submission_id

PATIENCE_S = 5


def tell_job(**facts: object) -> None:
    """Add what the job made to its metadata, which `ray list jobs --detail` and the dashboard show; values
    that are no texts become JSON. Elsewhere than in a submitted job it does nothing.

    Ray sets metadata only with a submission and has no call for it later: this writes the record that its
    own job client reads. Where that fails nothing is raised: work that is done does not fail for it.
    """
    name, address = submission_id(), os.environ.get("RAY_ADDRESS")
    if name is None or address is None:
        return
    told = {key: one if isinstance(one, str) else json.dumps(one) for key, one in facts.items()}
    try:
        asyncio.run(_add(name, address, told))
    except Exception as error:
        say(f"the job's metadata could not be written ({one_line(error)}); its log and output say the same")


async def _add(name: str, address: str, told: dict[str, str]) -> None:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.dashboard.modules.job.common import JobInfoStorageClient

    records = JobInfoStorageClient(GcsClient(address=address))
    info = await records.get_info(name, timeout=PATIENCE_S)
    if info is not None:
        metadata = {**(info.metadata or {}), **told}
        await records.put_info(name, replace(info, metadata=metadata), timeout=PATIENCE_S)
