"""The command line: one subcommand a stage. Parses first, imports heavy modules after.

`ochat-ray STAGE ... --recipe NAME-OR-FILE group.key=value` is the same on a laptop and in a Ray job: with
`--address` (or RAY_ADDRESS, which `ray job submit` sets) a stage runs on that cluster, otherwise on a
private one that ends with the command.
"""

from __future__ import annotations

import argparse
import difflib
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ochat_ray import __version__
from ochat_ray.cli_eval import DEFAULT_RECIPE, RECIPE_ACTIONS, add_actions
from ochat_ray.errors import CheckpointError, ClusterError, ConfigError, OchatError
from ochat_ray.job import tell_job
from ochat_ray.progress import say

if TYPE_CHECKING:
    from ochat_ray.config import Recipe
    from ochat_ray.exported import Exported

JOBS = {  # of jobs/, and the words that each of them runs
    "prepare": ("prepare",),
    "pack": ("pack",),
    "train": ("train",),
    "serve": ("serve",),
    "evaluate": ("eval", "run"),
    "batch_infer": ("batch",),
    "pipeline": ("pipeline",),
}
DEFAULT_URL = "http://127.0.0.1:18888/v1"
STAGES = ("base", "prepare", "train", "serve", "pipeline", "batch", "plan", "config")  # these take a recipe
FORMATS = ("page", "json", "jsonl", "parquet", "tar", "zip")
# What an override may begin with: `group.key`, or one of the recipe's own. `year=2023` is a folder.
RECIPE_KEYS = ("name", "description", "model_type", "base", "data", "train", "serve", "eval")
OVERRIDE = re.compile(rf"(?:[A-Za-z_]\w*\.[\w.]+|{'|'.join(RECIPE_KEYS)})=")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 well, 2 the user's mistake, 130 interrupted."""
    args = _parse(sys.argv[1:] if argv is None else argv)
    run: Callable[[argparse.Namespace], int | None] = args.run
    _leave_on_hangup()
    try:
        return run(args) or 0
    except KeyboardInterrupt:
        again = "Run the same command again to go on: what was finished is kept."
        say(f"\nochat-ray {args.command}: interrupted. {again}")
        return 130
    except BrokenPipeError:  # `ochat-ray ... | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ClusterError as error:  # told already
        return error.exit_code
    except Exception as error:
        cause = _to_tell(error)
        if cause is None:
            raise
        say(f"ochat-ray {args.command}: {cause}")
        return OchatError.exit_code


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 < amount < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0, such as 5000 or 2e9")
    return amount


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """What the words of a command line ask for. Ends the program, with usage, where they are no command."""
    # Overrides may stand anywhere: argparse would take the first of them for a positional argument.
    stage = " ".join(words[:1]) in STAGES or " ".join(words[:2]) in RECIPE_ACTIONS
    overrides = [
        word for word in words if stage and OVERRIDE.match(word) and not _is_named_folder(word, words)
    ]
    args, unknown = _parser().parse_known_args([word for word in words if word not in overrides])
    if unknown:
        _refuse(unknown, args.parser)
    args.overrides = overrides
    return args


def _is_named_folder(word: str, words: Sequence[str]) -> bool:
    """Whether a word is `--base MODEL_TYPE=DIR` or `--also NAME=DIR`, which look like overrides."""
    return any((option, word) in pairwise(words) for option in ("--base", "--also"))


def _refuse(unknown: Sequence[str], parser: argparse.ArgumentParser) -> NoReturn:
    """End with the usage of the command that was meant, and the nearest of its options."""
    near = difflib.get_close_matches(unknown[0], re.findall(r"--[\w-]+", parser.format_usage()), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


def _to_tell(error: BaseException | None) -> str | None:
    """What a person can mend, in a line: our own errors and those of files, also from a Ray worker."""
    while error is not None:
        inner = getattr(error, "cause", None)  # Ray's wrappers also are of their cause's type
        if isinstance(inner, BaseException):
            error = inner
        elif isinstance(error, OchatError):
            return str(error)
        elif isinstance(error, OSError) and error.filename is not None:
            return f"{error.filename}: {error.strerror}; mend that and run the same command again"
        else:
            error = error.__cause__
    return None


def _leave_on_hangup() -> None:
    """A closed terminal ends the command in order, with its cluster, unless it is to survive that (nohup)."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda number, _frame: sys.exit(128 + number))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ochat-ray", description="From saved chats to a served chat model, on one Ray cluster."
    )
    parser.add_argument("--version", action="version", version=f"ochat-ray {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], int | None], text: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(run=run, parser=sub)
        return sub

    def stage(
        name: str, run: Callable[[argparse.Namespace], int | None], text: str, *, ray: bool = True
    ) -> argparse.ArgumentParser:
        sub = command(name, run, text)
        recipe(sub, ray=ray)
        return sub

    def recipe(sub: argparse.ArgumentParser, *, ray: bool = True) -> None:
        sub.epilog = "KEY=VALUE words override the recipe, e.g. train.learning_rate=1e-5."
        sub.add_argument("--recipe", metavar="NAME-OR-FILE", help=f"recipe (default: {DEFAULT_RECIPE})")
        if ray:
            sub.add_argument(
                "--address", help="Ray cluster to join (default: RAY_ADDRESS, else a private one)"
            )

    def inputs(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "input",
            nargs="+",
            help="saved pages, JSON exports, JSON Lines, Parquet: folders, files, archives, globs or URIs",
        )
        sub.add_argument("--format", choices=FORMATS, help="what all files are (default: by their names)")

    demo = command("demo", _demo, "the whole way on the shipped sample, in minutes on two cores")
    demo.add_argument("--work", type=Path, default=Path(".demo"), help="folder for everything it makes")
    demo.add_argument("--port", type=int, default=18888, help="port of the endpoint")
    demo.add_argument("--keep", action="store_true", help="leave the server up until Ctrl-C")

    sample = command("sample", _sample, "write the shipped sample of saved ShareGPT pages")
    sample.add_argument("output", type=Path, help="folder to write; its pages go to OUTPUT/ShareGPT")

    base = stage("base", _base, "make a tiny base model, or extend one with a model type's tokens", ray=False)
    base.add_argument("output", type=Path, help="folder to write")
    base.add_argument(
        "--from",
        dest="source",
        metavar="MODEL",
        help="Hugging Face model to extend: folder, s3:// or gs:// URI, or OWNER/NAME[@REVISION] of the hub",
    )
    base.add_argument(
        "--allow-pickle", action="store_true", help="read tensors out of *.bin where there are no safetensors"
    )
    base.add_argument(
        "--trust-remote-code", action="store_true", help="run code that comes with the model, and hand it on"
    )

    prepare = stage("prepare", _prepare, "saved chat pages to token files")
    inputs(prepare)
    prepare.add_argument("output", help="folder to write, or s3:// or gs:// URI")
    prepare.add_argument(
        "--base",
        metavar="[MODEL_TYPE=]DIR",
        action="append",
        required=True,
        help="folder of the base model, whose tokenizer is used; again with MODEL_TYPE= for each further one",
    )

    train = stage("train", _train, "fine-tune a base model on prepared token files")
    train.add_argument("data", help="folder that `prepare` wrote, or its s3:// or gs:// URI")
    train.add_argument("output", type=Path, help="folder to write; the model goes to OUTPUT/model")
    train.add_argument("--base", type=Path, required=True, help="folder of the base model")
    train.add_argument(
        "--dry-run", action="store_true", help="tell steps, memory and time, and start nothing"
    )
    train.add_argument("--gpu", metavar="NAME", help="GPU to plan for, e.g. H100 (with --dry-run)")

    serve = stage("serve", _serve, "serve an exported model behind an OpenAI-compatible endpoint")
    serve.add_argument("model", type=Path, help="folder that `train` exported")
    serve.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="another model beside it, and the name to ask for it by; may be repeated",
    )

    pipeline = stage("pipeline", _pipeline, "prepare, train and serve in one go")
    inputs(pipeline)
    pipeline.add_argument("output", type=Path, help="folder to write: OUTPUT/data, OUTPUT/train")
    pipeline.add_argument("--base", type=Path, required=True, help="folder of the base model")

    batch = stage("batch", _batch, "answer a file of requests on the cluster, without a server")
    batch.add_argument("model", type=Path, help="folder that `train` exported")
    batch.add_argument(
        "input", type=Path, help="requests, JSON Lines with custom_id and body (OpenAI's batches)"
    )
    batch.add_argument("output", type=Path, help="file to write; answers that are in it are kept")

    plan = command("plan", _plan, "which nodes of a cluster a recipe will ask for, how long, and if in vain")
    plan.epilog = "KEY=VALUE words override the recipe, e.g. train.num_workers=16."
    plan.add_argument("recipe", metavar="RECIPE", help="name or file of a recipe")
    plan.add_argument("--cluster", type=Path, required=True, metavar="FILE", help="Ray's YAML or KubeRay's")
    plan.add_argument("--pages", type=_amount, default=0.0, metavar="N", help="saved pages to prepare")
    plan.add_argument("--tokens", type=_amount, default=0.0, metavar="N", help="tokens of an epoch, e.g. 2e9")
    plan.add_argument(
        "--data-rate",
        type=_amount,
        metavar="R",
        help="pages that a core prepares in a second (BENCHMARKS.md)",
    )
    plan.add_argument(
        "--train-rate", type=_amount, metavar="R", help="tokens that a worker trains on in a second"
    )

    submit = command("submit", _submit, "run a job on a cluster: check it, upload it, follow it")
    submit.add_argument("job", choices=JOBS, help="which of jobs/")
    submit.add_argument("--cluster", metavar="URL", help="dashboard (default: RAY_API_SERVER_ADDRESS)")
    submit.add_argument("--id", help="name of the submission; the same again follows it, or goes on")
    submit.add_argument(
        "words", nargs=argparse.REMAINDER, help="what the job is given, as on the command line"
    )

    chat = command("chat", _chat, "talk to a served model in the terminal")
    chat.add_argument("message", nargs="?", help="ask this and leave (default: a conversation)")
    chat.add_argument("--url", default=DEFAULT_URL, help=f"base URL of the endpoint (default: {DEFAULT_URL})")
    chat.add_argument("--model", help="model to ask (default: the endpoint's first)")
    chat.add_argument("--system", help="system message")
    chat.add_argument("--temperature", type=float, default=0.7, help="0 for the likeliest answer")

    inspect = command(
        "inspect", _inspect, "show what is in an input file, a prepared folder or a model folder"
    )
    inspect.add_argument(
        "path", help="a page, export or archive, or a folder of them; what prepare or train wrote, or a part"
    )
    inspect.add_argument(
        "-n", "--number", type=_positive, default=3, help="conversations to show (default: 3)"
    )
    inspect.add_argument("--id", help="show the conversation with this id")
    inspect.add_argument(
        "--rejected", metavar="REASON", nargs="?", const="", help="show rejects (of a reason)"
    )
    inspect.add_argument(
        "--random", metavar="SEED", nargs="?", type=int, const=-1, help="show some at random (by a seed)"
    )
    inspect.add_argument(
        "--as",
        dest="view",
        choices=("turns", "markdown", "tokens"),
        default="turns",
        help="turns, one Markdown document, or tokens shaded by their loss weights (default: turns)",
    )

    pack = command("pack", _pack, "millions of small saved pages to few Parquet files")
    inputs(pack)
    pack.add_argument("output", help="folder to write, or s3:// or gs:// URI")
    pack.add_argument("--shard-mb", type=_positive, default=256, help="MB of pages in a file (default: 256)")
    pack.add_argument("--address", help="Ray cluster to join (default: RAY_ADDRESS, else a private one)")

    keys = command("keys", _keys, "add, list or remove API keys of the endpoint")
    actions = keys.add_subparsers(dest="action", metavar="ACTION", required=True)
    texts = {"add": "make a key and print it, once", "list": "list keys", "remove": "remove a key"}
    for name, text in texts.items():
        action = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        action.set_defaults(parser=action)
        action.add_argument("file", type=Path, help="keys file; only sha256 of keys is in it")
        if name != "list":
            action.add_argument("name", help="who holds the key")
        if name == "add":
            action.add_argument(
                "--requests-per-minute", type=_positive, metavar="N", help="default: no limit"
            )
            action.add_argument("--tokens-per-minute", type=_positive, metavar="N", help="default: no limit")
            action.add_argument(
                "--expires", metavar="DATE", help="last day on which it works, e.g. 2030-12-31 (UTC)"
            )

    text = "evaluate models on chat benchmarks: answers, judges, figures and how sure they are"
    evaluate = commands.add_parser("eval", help=text, description=text[0].upper() + text[1:] + ".")
    evaluate.set_defaults(parser=evaluate)
    add_actions(evaluate, recipe)

    config = stage("config", _config, "show a recipe with all its settings and what they mean", ray=False)
    config.add_argument("--list", action="store_true", help="list the shipped recipes and model types")
    return parser


def _demo(args: argparse.Namespace) -> int:
    from ochat_ray.demo import demo

    return demo(args.work, port=args.port, keep=args.keep)


def _sample(args: argparse.Namespace) -> None:
    from ochat_ray.sample import write_pages

    pages = args.output / "ShareGPT"
    print(f"{write_pages(pages)} pages in {pages}")


def _base(args: argparse.Namespace) -> None:
    from ochat_ray.config import load_recipe

    recipe = load_recipe(args.recipe or DEFAULT_RECIPE, args.overrides)
    from ochat_ray.train.base import extend, make_tiny

    if args.source is None:
        if args.allow_pickle or args.trust_remote_code:
            raise ConfigError("--allow-pickle and --trust-remote-code are about a model: name it with --from")
        make_tiny(args.output, recipe)
    else:
        made = extend(
            args.source,
            args.output,
            recipe,
            allow_pickle=args.allow_pickle,
            trust_remote_code=args.trust_remote_code,
        )
        print(made.summary(recipe.base.positions))
    print(f"base model for {recipe.model_type} in {args.output}")


def _check_inputs(args: argparse.Namespace) -> None:
    """Tell of wrong inputs at once: starting Ray takes many seconds."""
    from ochat_ray.data.read.find import find_inputs

    find_inputs(args.input, args.format, leave_out=[args.output])


def _check_base(recipe: Recipe, bases: Sequence[str]) -> None:
    """Tell of base models that do not fit at once."""
    from ochat_ray.data.targets import load_targets

    load_targets(recipe, bases)


def _prepare(args: argparse.Namespace) -> None:
    from ochat_ray.config import load_recipe

    recipe = load_recipe(args.recipe or DEFAULT_RECIPE, args.overrides)
    from ochat_ray.data.outcome import require_kept
    from ochat_ray.data.pipeline import carry_out, plan
    from ochat_ray.inspect import funnel
    from ochat_ray.runtime import cluster

    planned = plan(args.input, args.output, recipe, args.base, kind=args.format)
    manifest = planned.finished
    if manifest is None:
        with cluster(args.address):
            manifest = carry_out(planned)
    print(funnel(manifest["counts"]))
    print(f"report in {args.output}/report.html; look with `ochat-ray inspect {args.output}`", flush=True)
    tell_job(result=str(args.output), counts=manifest["counts"])
    require_kept(manifest["counts"], args.output)


def _train(args: argparse.Namespace) -> None:
    from ochat_ray.config import load_recipe

    recipe = load_recipe(args.recipe or DEFAULT_RECIPE, args.overrides)
    if args.gpu is not None and not args.dry_run:
        raise ConfigError(f"--gpu {args.gpu}: names a GPU to plan for; add --dry-run, or leave it out")
    _check_base(recipe, [args.base])
    if recipe.train.deepspeed is not None:
        from ochat_ray.train.strategies.settings import own_settings

        own_settings(Path(recipe.train.deepspeed))
    if args.dry_run:
        _dry_run(args, recipe)
        return
    from ochat_ray.train.prepared import Prepared

    Prepared.open(args.data, args.base, recipe.model_type)
    from ochat_ray.runtime import cluster
    from ochat_ray.train.run import train

    with cluster(args.address, min_cpus=recipe.train.num_workers * recipe.train.threads):
        result = train(args.data, args.base, args.output, recipe)
    if recipe.train.lora.alone:
        print(f"adapter in {result.model}; load it with peft beside {args.base}")
    else:
        print(f"model in {result.model}; serve it with `ochat-ray serve {result.model}`")
    tell_job(result=str(result.model))


def _dry_run(args: argparse.Namespace, recipe: Recipe) -> None:
    from ochat_ray.train.gpus import choose_gpus

    gpus = choose_gpus(recipe.train, args.gpu)
    from ochat_ray.train.estimate.dry_run import dry_run
    from ochat_ray.train.estimate.text import render

    print(render(dry_run(args.data, args.base, recipe, gpus)))


def _serve(args: argparse.Namespace) -> None:
    from ochat_ray.exported import load_exported

    also = {name: Path(folder) for name, folder in map(_named, args.also)}
    exported = [load_exported(folder) for folder in (args.model, *also.values())]
    for one in exported:
        if (one.folder / "adapter_config.json").exists():
            raise CheckpointError(
                f"{one.folder}: an adapter alone, which cannot be served; train with train.lora.export=merged"
            )
    recipe = _served_recipe(args, exported[0])
    from ochat_ray.pipeline import serve
    from ochat_ray.runtime import cluster

    most = max(recipe.serve.replicas, recipe.serve.autoscaling.max_replicas or 1)
    cpus = most * len(exported) * recipe.serve.engine.threads
    with cluster(args.address, min_cpus=cpus) as private:
        serve(args.model, recipe.serve, also=also, wait=private)


def _served_recipe(args: argparse.Namespace, exported: Exported) -> Recipe:
    """The recipe that was named, or the one that the model was trained with, where it was trained here."""
    from ochat_ray.config import Recipe, load_recipe, override_recipe
    from ochat_ray.strict import parse

    if args.recipe or "recipe" not in exported.facts:
        return load_recipe(args.recipe or DEFAULT_RECIPE, args.overrides)
    trained = parse(Recipe, exported.facts["recipe"], str(args.model / "ochat.json"))
    return override_recipe(trained, args.overrides)


def _named(word: str) -> tuple[str, str]:
    name, equals, folder = word.partition("=")
    if not (name and equals and folder):
        raise ConfigError(f"--also {word}: expected NAME=FOLDER, e.g. --also coder=RUN/model")
    return name, folder


def _pipeline(args: argparse.Namespace) -> None:
    from ochat_ray.config import load_recipe

    recipe = load_recipe(args.recipe or DEFAULT_RECIPE, args.overrides)
    from ochat_ray.data.pipeline import plan
    from ochat_ray.pipeline import pipeline
    from ochat_ray.runtime import cluster

    planned = plan(args.input, args.output / "data", recipe, [args.base], kind=args.format)
    with cluster(args.address, min_cpus=recipe.train.num_workers * recipe.train.threads) as private:
        pipeline(planned, args.output, args.base, recipe, wait=private)


def _plan(args: argparse.Namespace) -> int:
    from ochat_ray.config import load_recipe
    from ochat_ray.sizing import PAGES_PER_CPU_S, Work, plan, read_types, table

    work = Work(args.pages, args.tokens, args.data_rate or PAGES_PER_CPU_S, args.train_rate)
    asks = plan(load_recipe(args.recipe, args.overrides), read_types(args.cluster), work)
    print(table(asks))
    for line in (line for ask in asks for line in ask.warnings):
        say(f"warning: {line}")
    return 0 if all(ask.placed for ask in asks) else 1


def _batch(args: argparse.Namespace) -> int:
    from ochat_ray.batch import infer_file, read_requests
    from ochat_ray.exported import load_exported
    from ochat_ray.runtime import cluster

    recipe = _served_recipe(args, load_exported(args.model))
    read_requests(args.input)
    with cluster(args.address, min_cpus=recipe.serve.engine.threads):
        done = infer_file(args.model, recipe.serve, args.input, args.output)
    print(f"{done.requests:,} requests, {done.answered:,} answered now, in {args.output}")
    tell_job(result=str(args.output), counts={"requests": done.requests, "refused": done.refused})
    if done.refused:
        say(f"{done.refused:,} were refused: see `error` of their lines")
    return 1 if done.refused else 0


def _submit(args: argparse.Namespace) -> int:
    from ochat_ray.config import load_recipe
    from ochat_ray.submit import require_uploaded, submit

    planned = _parse([*JOBS[args.job], *args.words])
    if hasattr(planned, "recipe"):
        require_uploaded(planned.recipe)
        load_recipe(planned.recipe or DEFAULT_RECIPE, planned.overrides)
    return submit(args.job, args.words, cluster=args.cluster, submission_id=args.id)


def _chat(args: argparse.Namespace) -> int:
    from ochat_ray.chat import chat

    return chat(args.url, args.model, args.system, args.message, temperature=args.temperature)


def _inspect(args: argparse.Namespace) -> None:
    import random

    from ochat_ray.inspect import Choice, Style, inspect

    seed = random.randrange(2**32) if args.random == -1 else args.random
    choice = Choice(args.number, args.id, args.rejected, seed)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for line in inspect(args.path, choice, Style(args.view, colour)):
        print(line)


def _pack(args: argparse.Namespace) -> None:
    _check_inputs(args)
    from ochat_ray.data.pack import pack
    from ochat_ray.runtime import cluster

    with cluster(args.address):
        manifest = pack(args.input, args.output, shard_mb=args.shard_mb, kind=args.format)
    counts = manifest["counts"]
    print(f"{counts['pages']:,} pages in {len(manifest['files']):,} files in {args.output}")
    for source, reason, detail in manifest["rejected"]:
        print(f"not packed: {source}: {reason} ({detail})")
    tell_job(result=str(args.output), counts=counts)


def _keys(args: argparse.Namespace) -> None:
    from ochat_ray.serve.access.keys_file import add_key, list_keys, remove_key

    if args.action == "list":
        for line in list_keys(args.file):
            print(line)
    elif args.action == "remove":
        remove_key(args.file, args.name)
        print(f"{args.name} has no key any more; a running endpoint knows within a second")
    else:
        key = add_key(
            args.file,
            args.name,
            requests_per_minute=args.requests_per_minute,
            tokens_per_minute=args.tokens_per_minute,
            expires=args.expires,
        )
        print(f"key of {args.name} in {args.file}; keep it, it is not shown again:", file=sys.stderr)
        print(key)


def _config(args: argparse.Namespace) -> None:
    from ochat_ray.config import describe, load_recipe, recipe_names
    from ochat_ray.model_types import load_model_type, model_type_names

    if args.list:
        print("recipes")
        for name in recipe_names():
            print(f"  {name:22} {load_recipe(name).description}")
        print("model types")
        for name in model_type_names():
            kind = load_model_type(name)
            aliases = f" (also {', '.join(kind.aliases)})" if kind.aliases else ""
            print(f"  {name:22} {kind.context} tokens, {kind.base}{aliases}")
    else:
        if args.recipe is None and not args.overrides:
            raise ConfigError("name a recipe with --recipe NAME-OR-FILE, or see them all with --list")
        print(describe(load_recipe(args.recipe or DEFAULT_RECIPE, args.overrides)), end="")
