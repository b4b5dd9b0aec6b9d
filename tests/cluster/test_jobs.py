"""The jobs, submitted to a real Ray head with the real `ray job submit`, working directory included."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from ochat_ray.sample import questions, write_pages
from tests.eval.scripted import Scripted
from tests.listening import listening
from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent
RAY = str(Path(sys.executable).parent / "ray")
TINY = ["--recipe", "tiny-cpu"]
# A few steps only: this is about the way, the demo is about the answers.
SHORT = ["train.epochs=1", "base.layers=1"]


class Head:
    """A Ray head on free ports with its own temporary folder, ended by its process group."""

    def __init__(self, folder: Path) -> None:
        self.temp = Path("/tmp") / f"ochat-test-{os.getpid()}"  # sockets' paths must be short
        self.dashboard = free_port()
        self.endpoint = free_port()  # Serve has one HTTP port a cluster, set when it first starts
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{self.dashboard}",
            "PYTHONPATH": "",
            # The `python` of the submit lines is the first on the head's PATH.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
        }
        command = [RAY, "start", "--head", "--block", "--num-cpus=4", f"--port={free_port()}"]
        command += ["--include-dashboard=true", "--dashboard-host=127.0.0.1"]
        command += [f"--dashboard-port={self.dashboard}", f"--ray-client-server-port={free_port()}"]
        command += [f"--dashboard-agent-listen-port={free_port()}", f"--temp-dir={self.temp}"]
        self.log = folder / "head.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, env=self.env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait(self, deadline_s: float = 120) -> None:
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text()
            done = subprocess.run([RAY, "job", "list"], env=self.env, capture_output=True, check=False)
            if done.returncode == 0:
                return
        raise AssertionError(f"the head did not come up:\n{self.log.read_text()}")

    def submit(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [RAY, "job", "submit", "--working-dir", ".", "--", "python", *command],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )

    def metadata(self, script: str) -> dict[str, str]:
        """Of the last job of a script, as Ray's own client reads it."""
        read = urllib.request.urlopen(f"{self.env['RAY_API_SERVER_ADDRESS']}/api/jobs/", timeout=30)
        jobs = [job for job in json.load(read) if f"python {script} " in job["entrypoint"]]
        found: dict[str, str] = max(jobs, key=lambda job: int(job["start_time"]))["metadata"]
        return found

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        shutil.rmtree(self.temp, ignore_errors=True)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    head = Head(tmp_path_factory.mktemp("head"))
    try:
        head.wait()
        yield head
    finally:
        head.stop()


def test_jobs_are_short_and_name_their_submit_line() -> None:
    jobs = sorted((ROOT / "jobs").glob("*.py"))
    assert {job.stem for job in jobs} >= {"prepare", "train", "serve", "pipeline", "evaluate"}
    for job in jobs:
        text = job.read_text()
        assert len(text.splitlines()) < 20
        assert f"ray job submit --working-dir . -- \\\n    python jobs/{job.name}" in text


def test_the_way_by_jobs(head: Head, tmp_path: Path) -> None:
    write_pages(tmp_path / "pages" / "ShareGPT")
    base, data, run = tmp_path / "base", tmp_path / "data", tmp_path / "run"
    made = subprocess.run(
        [sys.executable, "-m", "ochat_ray", "base", str(base), *TINY, *SHORT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr

    done = head.submit("jobs/prepare.py", str(tmp_path / "pages"), str(data), "--base", str(base), *TINY)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads((data / "manifest.json").read_text())["counts"]
    assert counts["documents"] == counts["kept"] + sum(counts["rejected"].values())
    assert "conversations kept" in done.stdout
    told = head.metadata("jobs/prepare.py")
    assert told["result"] == str(data)
    assert json.loads(told["counts"]) == counts

    done = head.submit("jobs/train.py", str(data), str(run), "--base", str(base), *TINY, *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (run / "model" / "ochat.json").exists()
    assert head.metadata("jobs/train.py")["result"] == str(run / "model")

    done = head.submit("jobs/serve.py", str(run / "model"), f"serve.port={head.endpoint}")
    assert done.returncode == 0, done.stdout + done.stderr
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{head.endpoint}/v1", api_key="none")
    assert head.metadata("jobs/serve.py")["endpoint"] == str(client.base_url).rstrip("/")
    messages = [{"role": "user", "content": questions()[0].text}]
    answer = client.chat.completions.create(model="openchat", messages=messages, max_tokens=8)
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0

    done = head.submit("jobs/prepare.py", str(tmp_path / "none"), str(tmp_path / "x"), "--base", str(base))
    assert done.returncode == 1
    assert f"{tmp_path / 'none'}" in done.stdout + done.stderr


def test_pipeline_job(head: Head, tmp_path: Path) -> None:
    """With two epochs, which a judge grades."""
    write_pages(tmp_path / "pages" / "ShareGPT")
    base = tmp_path / "base"
    subprocess.run([sys.executable, "-m", "ochat_ray", "base", str(base), *TINY, *SHORT], check=True)
    judge = Scripted(lambda body, _: f"[[{5 + len(json.dumps(body)) % 5}]]")
    with listening(judge.api) as url:
        judges = json.dumps([{"name": "judge", "url": f"{url}/v1"}])
        done = head.submit(
            "jobs/pipeline.py",
            str(tmp_path / "pages"),
            str(tmp_path / "out"),
            "--base",
            str(base),
            *TINY,
            *SHORT,
            "train.epochs=2",
            "train.export.every_epoch=true",
            f"eval.judges={judges}",
            "eval.prompt=grade",
            "eval.limit=2",
            f"serve.port={head.endpoint}",
        )
    assert done.returncode == 0, done.stdout + done.stderr
    grade = json.loads((tmp_path / "out/eval/eval.json").read_text())["grades"]
    assert {one["model"] for one in grade} == {"epoch 1", "epoch 2"}
    assert f"best by grade: {tmp_path / 'out/train/epochs'}/" in done.stdout
    assert "eval.html" in done.stdout
    stages = json.loads((tmp_path / "out/pipeline.json").read_text())
    assert list(stages) == ["data", "train", "eval"]
    assert stages["train"]["inputs"]["data"] == stages["data"]["outputs"]["manifest"]
    assert stages["eval"]["inputs"]["model"] == stages["train"]["outputs"]["model"]
    for stage, record in stages.items():
        assert record["starts"] == 1 and record["node_hours"]["head"] > 0
        assert f"{stage}: " in done.stdout
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{head.endpoint}/v1", api_key="none")
    assert [model.id for model in client.models.list()] == ["openchat"]


def test_submit_checks_follows_and_hands_on_the_exit_status(head: Head, tmp_path: Path) -> None:
    def submit(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ochat_ray", "submit", *words]
        return subprocess.run(command, cwd=ROOT, env=head.env, capture_output=True, text=True, check=False)

    write_pages(tmp_path / "pages" / "ShareGPT")
    pack = ["pack", str(tmp_path / "pages"), str(tmp_path / "packed")]
    done = submit("--id", "pack-1", *pack)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "submitted pack-1 on http://127.0.0.1" in done.stderr and "files in" in done.stdout
    again = submit("--id", "pack-1", *pack)  # ended: it is started anew, and there is nothing left to do
    assert again.returncode == 0, again.stdout + again.stderr
    failed = submit("--id", "pack-2", "pack", str(tmp_path / "none"), str(tmp_path / "x"))
    assert failed.returncode == 2 and "no such file or folder" in failed.stdout
    assert "mend that, then `ochat-ray submit --id pack-2 pack " in failed.stderr

    for words, told in (
        (["train", "DATA", "OUT", "--base", "B", "train.epcohs=3"], "did you mean `train.epochs`?"),
        (["train", "DATA", "OUT"], "the following arguments are required: --base"),
        (["evaluate", "OUT", "--recipe", "/tmp/x.yaml"], "only it is uploaded"),
        (["nope"], "invalid choice: 'nope'"),
        (["--cluster", "http://127.0.0.1:9", "pack", "a", "b"], "http://127.0.0.1:9: no cluster answers"),
        (["--cluster", "127.0.0.1:8265", "pack", "a", "b"], "give the dashboard's URL, such as http://"),
        (
            ["--id", "pack-1", "prepare", "a", "b", "--base", "c"],
            "--id pack-1: is that of `python jobs/pack.py",
        ),
    ):
        wrong = submit(*words)
        assert wrong.returncode == 2 and told in wrong.stderr, wrong.stderr
