"""Judgments of others from a file, whichever of the published formats it has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ochat_ray.errors import DataError
from ochat_ray.eval.formats import alpaca, fastchat
from ochat_ray.eval.records import Judgment, read_records
from ochat_ray.json_lines import read_json_lines


def read_judgments(path: Path, categories: Mapping[str, str]) -> list[Judgment]:
    """Judgments of alpaca_eval's `annotations.json`, FastChat's `*_single.jsonl` or `*_pair.jsonl`, or of
    another evaluation, `judgments.jsonl`. `categories` of questions are filled in where the file has none.

    Raises DataError with file, line or entry, and field.
    """
    if path.suffix == ".json":
        return alpaca.read_annotations(path)
    first = next((row for _, row in read_json_lines(path)), None)
    if first is None:
        raise DataError(f"{path}: no judgment in it")
    if "g1_winner" in first:
        matches: dict[frozenset[str], tuple[str, str]] = {}
        for _, row in read_json_lines(path):
            sides = str(row.get("model_1")), str(row.get("model_2"))
            matches.setdefault(frozenset(sides), sides)
        return [
            one
            for model, baseline in matches.values()
            for one in fastchat.read_verdicts(path, model=model, baseline=baseline, categories=categories)
        ]
    if "score" in first and "turn" in first:
        return fastchat.read_grades(path, categories)
    return list(read_records(Judgment, path))
