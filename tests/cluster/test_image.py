"""The image and the upload: what goes in is there, is little, and is no secret. No engine is needed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from ray._private.runtime_env.packaging import create_package

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = ROOT / "cluster" / "Dockerfile"
IGNORE = ROOT / ".dockerignore"
LIMIT = 100 * 2**20  # Ray's, of an upload


class Step(NamedTuple):
    """An instruction of a Dockerfile, and the name of the stage that it is in."""

    stage: str
    word: str
    rest: str


def steps(text: str) -> list[Step]:
    """A Dockerfile's instructions, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines)).splitlines()
    found, stage = [], ""
    for line in joined:
        word, _, rest = line.strip().partition(" ")
        if not re.fullmatch(r"ARG|FROM|RUN|ENV|WORKDIR|COPY|USER|CMD", word):
            raise ValueError(f"no instruction {word}")
        if word == "FROM":
            stage = re.fullmatch(r"\S+ AS (\S+)", rest)[1]  # type: ignore[index]
        found.append(Step(stage, word, rest.strip()))
    return found


def copied(found: list[Step]) -> Iterator[str]:
    """Sources of COPY in the build's context."""
    for step in found:
        if step.word == "COPY" and "--from" not in step.rest:
            words = [word for word in step.rest.split() if not word.startswith("--")]
            yield from words[:-1]


def ignored(path: str, patterns: list[str]) -> bool:
    """As Docker reads .dockerignore: the last pattern that fits a path or a folder above it decides."""
    parts = path.split("/")
    above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    out = False
    for pattern in patterns:
        keep, bare = pattern.startswith("!"), pattern.removeprefix("!").rstrip("/")
        if any(fits(one, bare) for one in above):
            out = not keep
    return out


def fits(path: str, pattern: str) -> bool:
    """Whether a path is a pattern's: ** is any number of folders, * stays within one."""
    have, want = path.split("/"), pattern.split("/")
    if want[0] == "**":
        return any(fits("/".join(have[n:]), "/".join(want[1:])) for n in range(len(have)))
    return len(have) == len(want) and all(fnmatchcase(h, w) for h, w in zip(have, want, strict=True))


def patterns() -> list[str]:
    return [line for line in IGNORE.read_text().splitlines() if line and not line.startswith("#")]


def checkout() -> list[str]:
    """Paths that git keeps, those of files that are new included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for path in done.stdout.splitlines() if (ROOT / path).is_file()]


def pip_lines(found: list[Step]) -> list[tuple[Step, list[str]]]:
    """Every `pip install`, as words."""
    return [
        (step, shlex.split(command))
        for step in found
        if step.word == "RUN"
        for command in step.rest.split("&&")
        if "pip install" in command
    ]


def extras_of(words: list[str]) -> set[str]:
    named = [re.fullmatch(r"\.\[(.*)\]", word) for word in words]
    return {extra for match in named if match for extra in match[1].split(",")}


def unknown_extras(found: list[Step]) -> set[str]:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return {extra for _, words in pip_lines(found) for extra in extras_of(words)} - known.keys()


def lacking(found: list[Step], kept: list[str]) -> list[str]:
    """Sources of COPY that a clean checkout lacks, or that .dockerignore leaves out."""
    rules = patterns()
    arriving = [path for path in kept if not ignored(path, rules)]
    return [
        source
        for source in copied(found)
        if not any(path == source or path.startswith(f"{source}/") for path in arriving)
    ]


@pytest.fixture(scope="module")
def build() -> list[Step]:
    return steps(DOCKERFILE.read_text())


def test_what_is_copied_is_there(build: list[Step]) -> None:
    assert {"ochat_ray", "jobs", "pyproject.toml", "constraints.txt"} <= set(copied(build))
    assert lacking(build, checkout()) == []


def test_what_is_copied_and_is_not_there_is_caught(build: list[Step]) -> None:
    more = [*build, Step("image", "COPY", "ochat_rya ochat_rya"), Step("image", "COPY", "tests tests")]
    assert lacking(more, checkout()) == ["ochat_rya", "tests"]


def test_only_what_is_copied_is_sent() -> None:
    sources = set(copied(steps(DOCKERFILE.read_text())))
    rules = patterns()
    sent = {path.split("/")[0] for path in checkout() if not ignored(path, rules)}
    assert sent == sources
    secret = (
        ".env",
        "keys.yaml",
        "work/pages/a.html",
        ".venv/bin/python",
        ".git/config",
        "cluster/kuberay/x.yaml",
    )
    assert all(ignored(path, rules) for path in secret)
    assert ignored("ochat_ray/data/__pycache__/x.pyc", rules)
    assert not ignored("ochat_ray/data/pipeline.py", rules)


def test_extras_are_those_of_the_project(build: list[Step]) -> None:
    assert unknown_extras(build) == set()
    named = {extra for _, words in pip_lines(build) for extra in extras_of(words)}
    assert {"all", "ui", "deepspeed"} <= named


def test_an_extra_that_is_none_is_caught(build: list[Step]) -> None:
    more = [*build, Step("image", "RUN", 'pip install ".[all,deepspede]"')]
    assert unknown_extras(more) == {"deepspede"}


def test_versions_are_those_of_ci(build: list[Step]) -> None:
    lines = pip_lines(build)
    assert len(lines) == 6
    assert all(words[words.index("--constraint") + 1] == "constraints.txt" for _, words in lines)


def test_torch_comes_first_and_from_its_own_index(build: list[Step]) -> None:
    lines = pip_lines(build)
    for kind, index in (("cpu", "cpu"), ("cuda", r"cu\d+")):
        (words,) = [words for step, words in lines if step.stage == f"torch-{kind}"]
        assert words[-1] == "torch" and "--extra-index-url" in words
        (named,) = [s.rest for s in build if s.stage == f"torch-{kind}" and s.word == "ARG"]
        assert re.fullmatch(rf"TORCH_INDEX=https://download\.pytorch\.org/whl/{index}", named)
    (deepspeed,) = [words for _, words in lines if "deepspeed" in extras_of(words)]
    assert "DS_BUILD_OPS=0" in deepspeed and "--no-build-isolation" in deepspeed
    stages = [step.rest.split()[0] for step in build if step.word == "FROM"]
    assert stages[3:] == ["torch-${ACCELERATOR}", "dependencies"]


def test_dependencies_lie_below_the_code(build: list[Step]) -> None:
    """A change of code must not install everything anew."""
    before = build[: build.index(Step("image", "COPY", "ochat_ray ochat_ray"))]
    assert {extra for _, words in pip_lines(before) for extra in extras_of(words)} >= {"all", "deepspeed"}
    after = build[len(before) :]
    (install,) = pip_lines(after)
    assert "--no-deps" in install[1]


def test_the_user_is_the_one_of_the_manifests(build: list[Step]) -> None:
    user = [step.rest for step in build if step.word == "USER"][-1]
    (service,) = yaml.safe_load_all((ROOT / "cluster" / "kuberay" / "rayservice.yaml").read_text())
    context = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["securityContext"]
    assert user == f"{context['runAsUser']}:{context['runAsGroup']}" != "0:0"
    assert build[-1].word == "CMD" and build[-2].word == "USER", "nothing runs as root after it"
    assert any("--uid 1000" in step.rest for step in build if step.word == "RUN")


def test_jobs_are_where_the_manifests_look(build: list[Step]) -> None:
    assert Step("base", "WORKDIR", "/opt/ochat") in build
    assert Step("image", "COPY", "jobs jobs") in build
    assert "python /opt/ochat/jobs/train.py" in (ROOT / "cluster" / "kuberay" / "rayjob.yaml").read_text()


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("a", "*", True),
        ("a/b", "*", False),
        ("a/b", "a/*", True),
        ("a/b/__pycache__", "**/__pycache__", True),
        ("__pycache__", "**/__pycache__", True),
        ("ab", "a", False),
    ],
)
def test_patterns_are_read_as_docker_does(path: str, pattern: str, expected: bool) -> None:
    assert fits(path, pattern) is expected


# What `ray job submit --working-dir .` uploads


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Names and sizes in the package that Ray makes of a checkout in use."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in checkout():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / path)
    for path in (
        ".env",
        ".env.local",
        "a.pem",
        "work/pages/a.html",
        ".venv/bin/python",
        ".git/config",
        ".demo/x",
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("not for the cluster")
    target = tmp_path_factory.mktemp("package") / "package.zip"
    # Without .gitignore, as RAY_RUNTIME_ENV_IGNORE_GITIGNORE=1 asks: .rayignore alone must do.
    create_package(str(folder), target, include_gitignore=False)
    with zipfile.ZipFile(target) as package:
        return {info.filename: info.file_size for info in package.infolist() if not info.is_dir()}


def test_an_upload_is_small_and_holds_no_secret(upload: dict[str, int]) -> None:
    assert 0 < sum(upload.values()) < LIMIT / 4
    assert not [
        name for name in upload if re.match(r"\.env|\.venv|\.git/|\.demo|work/|tests/|cluster/", name)
    ]
    assert not [name for name in upload if name.endswith(".pem")]


def test_an_upload_holds_what_jobs_need(upload: dict[str, int]) -> None:
    code = [path for path in checkout() if path.startswith(("ochat_ray/", "jobs/"))]
    assert len(code) > 100
    assert [path for path in code if path not in upload] == []
