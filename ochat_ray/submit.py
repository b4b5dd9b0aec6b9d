"""A job of `jobs/` on a cluster: checked here, uploaded, followed, its exit status handed on."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ochat_ray import __version__
from ochat_ray.errors import ConfigError, OchatError, one_line
from ochat_ray.progress import FORMAT, say

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

STOP_WAIT_S = 600
"""For a stopped job to write its last checkpoint, before it is killed."""
STOPPED = 130
SETTLE_S = 0.5


def submit(job: str, words: Sequence[str], *, cluster: str | None, submission_id: str | None) -> int:
    """Run a job with the words of its command line; returns its driver's exit status, 130 for a stopped one.

    `cluster` is the URL of the dashboard, by default RAY_API_SERVER_ADDRESS. The same id again goes on: it
    follows a job that runs, and starts one that has ended anew, which finds what is finished. Raises
    ConfigError outside a checkout and for a recipe that would not be uploaded, OchatError where no cluster
    answers.
    """
    script = Path("jobs") / f"{job}.py"
    if not script.is_file():
        raise ConfigError(f"{script.resolve()}: not there; run this in a checkout, which is what is uploaded")
    client = _client(cluster)
    running = _former(client, submission_id)
    if not running:
        entrypoint = shlex.join(["python", str(script), *words])
        submission_id = client.submit_job(
            entrypoint=entrypoint,
            submission_id=submission_id,
            runtime_env={
                "working_dir": ".",
                "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S), **_log_format()},
            },
            metadata={"job": job, "ochat-ray": __version__},
        )
    assert submission_id is not None
    told = f"{submission_id} on {client.get_address()}"
    say(f"{'following' if running else 'submitted'} {told}")
    return _follow(client, submission_id, again=shlex.join(["submit", "--id", submission_id, job, *words]))


def require_uploaded(recipe: str | None) -> None:
    """Raises ConfigError for a recipe's file that the cluster would not see."""
    if recipe is None or not recipe.endswith((".yaml", ".yml")):
        return
    path = Path(recipe)
    if path.is_absolute() or not path.resolve().is_relative_to(Path.cwd()):
        raise ConfigError(
            f"--recipe {recipe}: name a file of this folder by its relative path: only it is uploaded"
        )


def _log_format() -> dict[str, str]:
    """How this command's lines are wanted, for the job's."""
    return {FORMAT: os.environ[FORMAT]} if FORMAT in os.environ else {}


def _client(cluster: str | None) -> JobSubmissionClient:
    from ray.job_submission import JobSubmissionClient

    logging.getLogger("ray").setLevel(logging.ERROR)  # it tells of every file that it does not upload
    if cluster is not None:
        os.environ["RAY_API_SERVER_ADDRESS"] = cluster  # which Ray would prefer
    try:
        return JobSubmissionClient(cluster)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise OchatError(
            f"{cluster or 'RAY_API_SERVER_ADDRESS'}: no cluster answers ({one_line(error)[:200]}); give the "
            "dashboard's URL with --cluster, and its token in RAY_AUTH_TOKEN"
        ) from error


def _former(client: JobSubmissionClient, submission_id: str | None) -> bool:
    """Whether a job of this id still runs; one that has ended makes room."""
    if submission_id is None:
        return False
    try:
        status = client.get_job_status(submission_id)
    except RuntimeError:  # there is none
        return False
    if not status.is_terminal():
        return True
    client.delete_job(submission_id)
    return False


def _follow(client: JobSubmissionClient, submission_id: str, *, again: str) -> int:
    try:
        asyncio.run(_tail(client, submission_id))
    except KeyboardInterrupt:
        say(
            f"\nthe job goes on; follow it with `ochat-ray {again}`, stop it with "
            f"`ray job stop {submission_id}`"
        )
        return STOPPED
    while not (info := client.get_job_info(submission_id)).status.is_terminal():
        time.sleep(SETTLE_S)  # the log ends a little before the job
    return _exit_status(info, again)


async def _tail(client: JobSubmissionClient, submission_id: str) -> None:
    async for text in client.tail_job_logs(submission_id):
        sys.stdout.write(text)
        sys.stdout.flush()


def _exit_status(info: JobDetails, again: str) -> int:
    status = info.status.value
    if status == "SUCCEEDED":
        return 0
    say(f"the job {status.lower()}; `ochat-ray {again}` goes on")
    if status == "STOPPED":
        return STOPPED
    if info.driver_exit_code is None:  # it never began
        say(" ".join((info.message or "").split()))
    return info.driver_exit_code or 1
