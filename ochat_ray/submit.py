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
STOPPED, LOST = 130, 3
"""Exit statuses of a job that was stopped, and of one that may go on where it cannot be seen."""
SETTLE_S = 0.5


def submit(job: str, words: Sequence[str], *, cluster: str | None, submission_id: str | None) -> int:
    """Run a job with the words of its command line; returns its driver's exit status, 130 for a stopped one.

    `cluster` is the URL of the dashboard, by default RAY_API_SERVER_ADDRESS. The same id again goes on: it
    follows a job that runs, and starts one that has ended anew, which finds what is finished. Raises
    ConfigError outside a checkout and for an id that is another job's, OchatError where no cluster answers.
    """
    script = Path("jobs") / f"{job}.py"
    if not script.is_file():
        raise ConfigError(f"{script.resolve()}: not there; run this in a checkout, which is what is uploaded")
    client = _client(cluster)
    entrypoint = shlex.join(["python", str(script), *words])
    running = _former(client, submission_id, script, entrypoint)
    if not running:
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
    from ray.exceptions import AuthenticationError, RayError
    from ray.job_submission import JobSubmissionClient

    logging.getLogger("ray").setLevel(logging.ERROR)  # it tells of every file that it does not upload
    url = cluster or os.environ.get("RAY_API_SERVER_ADDRESS", "")
    if not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"--cluster {url!r}: give the dashboard's URL, such as http://127.0.0.1:8265, here or in "
            "RAY_API_SERVER_ADDRESS"
        )
    os.environ["RAY_API_SERVER_ADDRESS"] = url  # which Ray would prefer
    try:
        return JobSubmissionClient(url)
    except AuthenticationError as error:
        raise OchatError(
            f"{url}: the cluster asks for its token, or for another one; set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH"
        ) from error
    except (ConnectionError, RayError, RuntimeError, ValueError) as error:
        raise OchatError(
            f"{url}: no cluster answers ({one_line(error)[:200]}); give the dashboard's URL with --cluster, "
            "and its token in RAY_AUTH_TOKEN"
        ) from error


def _former(client: JobSubmissionClient, submission_id: str | None, script: Path, entrypoint: str) -> bool:
    """Whether a job of this id still runs; one that has ended makes room. Raises ConfigError for another
    job's id, and for one that runs with other words."""
    if submission_id is None:
        return False
    try:
        former = client.get_job_info(submission_id)
    except RuntimeError:  # there is none
        return False
    runs = not former.status.is_terminal()
    if f" {script} " not in f"{former.entrypoint} " or (runs and former.entrypoint != entrypoint):
        raise ConfigError(
            f"--id {submission_id}: is that of `{former.entrypoint}`, which "
            f"{'runs' if runs else 'has ended'}; give another id"
            + (f", or stop it with `ray job stop {submission_id}`" if runs else "")
        )
    if not runs:
        client.delete_job(submission_id)
    return runs


def _follow(client: JobSubmissionClient, submission_id: str, *, again: str) -> int:
    import aiohttp
    import requests

    try:
        asyncio.run(_tail(client, submission_id))
        while not (info := client.get_job_info(submission_id)).status.is_terminal():
            time.sleep(SETTLE_S)  # the log ends a little before the job
    except (ConnectionError, aiohttp.ClientError, requests.RequestException, RuntimeError) as error:
        say(
            f"the cluster cannot be reached any more ({one_line(error)[:200]}); the job may go on: follow it "
            f"with `ochat-ray {again}`"
        )
        return LOST
    except KeyboardInterrupt:
        say(
            f"\nthe job goes on; follow it with `ochat-ray {again}`, stop it with "
            f"`ray job stop {submission_id}`"
        )
        return STOPPED
    return _exit_status(info, again)


async def _tail(client: JobSubmissionClient, submission_id: str) -> None:
    async for text in client.tail_job_logs(submission_id):
        sys.stdout.write(text)
        sys.stdout.flush()


def _exit_status(info: JobDetails, again: str) -> int:
    status = info.status.value
    if status == "SUCCEEDED":
        return 0
    if status == "STOPPED":
        say(f"the job was stopped; `ochat-ray {again}` goes on")
        return STOPPED
    if info.driver_exit_code == OchatError.exit_code:
        say(f"the job cannot be done so, see above; mend that, then `ochat-ray {again}`")
    else:
        say(f"the job failed; `ochat-ray {again}` goes on")
    if info.driver_exit_code is None:  # it never began
        say(" ".join((info.message or "").split()))
    return info.driver_exit_code or 1
