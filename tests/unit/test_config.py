"""Recipes and model types: what is accepted, and what is said of what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ochat_ray.config import Recipe, describe, load_recipe, recipe_names
from ochat_ray.errors import ConfigError
from ochat_ray.model_types import load_model_type, model_type_names
from ochat_ray.strict import StrictModel, group_of, key_paths


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_load_and_name_a_model_type(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    kind = load_model_type(recipe.model_type)
    assert (recipe.data.max_tokens or kind.context) <= recipe.train.max_tokens, "train would refuse the data"


def test_all_published_model_types_are_there() -> None:
    published = ["openchat", "openchat_8192", "opencoder", "openchat_v2", "openchat_v2_w", "openchat_v3.2"]
    published += ["openchat_v3.2_mistral", "openchat_3.5", "openchat_3.6", "chatml"]
    for name in published:
        found = load_model_type(name)
        assert name in (found.name, *found.aliases)
    assert len(model_type_names()) == 8


def test_overrides() -> None:
    recipe = load_recipe(
        "tiny-cpu", ["train.learning_rate=1e-5", "data.filters.models=[]", "serve.engine.threads=2"]
    )
    assert recipe.train.learning_rate == 1e-5
    assert recipe.data.filters.models == ()
    assert recipe.serve.engine.threads == 2
    assert recipe.train.epochs == load_recipe("tiny-cpu").train.epochs


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "train.learning_rat=1",
            "unknown key `train.learning_rat` (value '1'); did you mean `train.learning_rate`",
        ),
        ("learning_rate=1", "did you mean `train.learning_rate`"),
        ("data.filters.models.x=1", "unknown key `data.filters.models.x`"),
        ("train.epochs", "write it as group.key=value"),
        ("train.epochs=0", "`train.epochs` = 0: Input should be greater than 0"),
        ("train.learning_rate=fast", "must be a number above 0, or auto"),
        ("train.learning_rate=-1", "must be a number above 0, or auto"),
        ("train.num_workers=99", "must be at least num_workers 99"),
        ("train=3", "train is a group; override its keys"),
        ("train.epochs=[", "not valid YAML"),
        ("data.filters.models=GPT-4", "`data.filters.models` = 'GPT-4': expected a list; write [GPT-4]"),
        ("data.filters.models='Model: GPT-4'", "expected a list; write ['Model: GPT-4']"),
    ],
)
def test_bad_overrides_say_what_to_write(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_recipe("tiny-cpu", [override])
    assert message in str(raised.value)


def test_faults_in_a_file_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nmodel_type: openchat\ntrain:\n  num_worker: 2\n  epochs: zero\n")
    with pytest.raises(ConfigError) as raised:
        load_recipe(str(path))
    text = str(raised.value)
    assert f"{path}:4: unknown key `train.num_worker` (value 2); did you mean `train.num_workers`?" in text
    assert f"{path}:5: `train.epochs` = 'zero'" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\na: 2\n", ":2: a is given twice (first on line 1)"),
        ("- x\n", "expected `key: value` lines, found list"),
        ("", "found NoneType"),
        ("a: [\n", "not valid YAML"),
        ("name: x\n", "`model_type` is missing"),
    ],
)
def test_bad_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as raised:
        load_recipe(str(path))
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


def test_unknown_names_suggest_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean `openchat`"):
        load_recipe("openchatt")
    with pytest.raises(ConfigError, match=r"did you mean `openchat_v3.2`"):
        load_model_type("openchat_v3.3")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(str(tmp_path / "none.yaml"))


def test_description_loads_again_to_the_same_recipe(tmp_path: Path) -> None:
    for name in recipe_names():
        recipe = load_recipe(name, ["serve.model_name=null"])
        path = tmp_path / "again.yaml"
        path.write_text(describe(recipe), encoding="utf-8")
        assert load_recipe(str(path)) == recipe


def test_every_setting_is_documented() -> None:
    def undocumented(model: type[StrictModel], prefix: str) -> list[str]:
        bad = []
        for name, field in model.model_fields.items():
            if not field.description:
                bad.append(prefix + name)
            if group := group_of(field.annotation):
                bad += undocumented(group, f"{prefix}{name}.")
        return bad

    assert len(key_paths(Recipe)) > 30
    assert undocumented(Recipe, "") == []


def test_own_model_type_works_by_path_and_errors_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    good = "name: mine\nbase: any\ncontext: 128\nbos: null\neot: <end>\nuser_prefix: 'Q:'\n"
    path.write_text(good + "assistant_prefix: 'A:'\n")
    assert load_model_type(str(path)).assistant_prefix == "A:"
    path.write_text(good + "asistant_prefix: 'A:'\n")
    with pytest.raises(ConfigError, match=r"mine.yaml:7: unknown key `asistant_prefix`.*`assistant_prefix`"):
        load_model_type(str(path))
    path.write_text(good + "assistant_prefix: '{condition} A:'\n")
    with pytest.raises(ConfigError, match="default_condition is needed"):
        load_model_type(str(path))


def test_a_mapping_is_given_whole_and_an_optional_group_by_its_keys() -> None:
    recipe = load_recipe(
        "tiny-cpu", ["serve.aliases={gpt-4o-mini: openchat}", "serve.access.log.path=x.jsonl"]
    )
    assert recipe.serve.aliases == {"gpt-4o-mini": "openchat"}
    assert recipe.serve.access.log is not None and recipe.serve.access.log.path == "x.jsonl"
    with pytest.raises(ConfigError, match="is a group"):
        load_recipe("tiny-cpu", ["serve.access={}"])
