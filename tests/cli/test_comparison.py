"""A recipe runs its parts with several seeds and sets them side by side, and claims compare the means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from lightning_symmetry.cli import main
from lightning_symmetry.comparison import Comparison
from lightning_symmetry.exceptions import ClaimFailed, InvalidFile
from lightning_symmetry.recipe import Recipe

PART = """\
name: {name}
seeds: {seeds}
seed_everything: $seed
model:
  class_path: lightning_symmetry.hosts.Regressor
  init_args: {{inputs: 4, outputs: 2, hidden: [8]}}
data:
  class_path: lightning_symmetry.data.PlanarVectors
  init_args: {{samples: 64, batch_size: 32, seed: $seed}}
trainer:
  accelerator: cpu
  max_epochs: 1
  enable_progress_bar: false
  enable_checkpointing: false
---
"""
COMPARE = """\
compare:
  metrics: {test/mse: error}
  published: {others: {test/mse: 0.40 +- 0.02}}
  expect:
    - {metric: first/test/mse, at_most: 5}
    - {metric: second/test/mse, at_least: first/test/mse, at_most: first/test/mse}
"""
RUNS = {"a": [{"error": 1.0, "loss": 2.0}, {"error": 3.0}], "b": [{"error": 4.0}]}


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pair.yaml"
    parts = PART.format(name="first", seeds=[3, 4]), PART.format(name="second", seeds=[4, 3])
    path.write_text("# Two parts.\n" + "".join(parts) + COMPARE)
    return path


def claims(*expect: dict[str, object]) -> Comparison:
    document = {"metrics": {"error": "error"}, "expect": list(expect)}
    return Comparison.read(document, ["a", "b"], "x.yaml")


def test_every_seed_is_run_and_the_means_are_compared(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(recipe)]) == 0
    told = capsys.readouterr().out
    order = [line for line in told.splitlines() if line.startswith("pair: ")]
    assert order == [f"pair: {run}" for run in ("first, seed 3", "first, seed 4", "second, seed 4", "second, seed 3")]
    folders = sorted(path.name for path in (recipe.parent / "lightning_symmetry_runs/pair").iterdir())
    assert folders == ["first_seed_3", "first_seed_4", "second_seed_3", "second_seed_4"]
    # both parts are the same, in another order
    first, second = (re.search(rf"^ *{part} +(\S+ \+- \S+)$", told, re.MULTILINE)[1] for part in ("first", "second"))
    assert first == second and not first.endswith("+- 0")
    assert re.search(r"published: others +0\.40 \+- 0\.02", told)
    saved = [yaml.safe_load(path.read_text()) for path in sorted(recipe.parent.rglob("config.yaml"))]
    assert [(one["seed_everything"], one["data"]["init_args"]["seed"]) for one in saved] == [(3, 3), (4, 4)] * 2


def test_parts_and_their_comparison_are_told_apart(recipe: Path) -> None:
    found = Recipe("pair", recipe)
    assert [name for name, _ in found.parts] == ["first", "second"]
    assert found.comparison is not None and len(found.comparison.expect) == 2


def test_means_and_deviations_are_those_of_the_runs() -> None:
    table = Comparison({"error": "e", "loss": "l", "other": "o"}, {"who": {"loss": 7}})
    header, rows = table.lay_out(RUNS)
    assert header == ["", "e", "l", "o"]
    assert rows == [["a", "2 +- 1.4", "2", "-"], ["b", "4", "-", "-"], ["published: who", "-", "7", "-"]]


def test_bounds_are_numbers_or_other_means() -> None:
    found = claims(
        {"metric": "a/error", "at_most": "b/error"},
        {"metric": "b/error", "at_most": "a/error"},
        {"metric": "a/error", "at_least": 2, "at_most": 2},
    ).judge(RUNS)
    assert [claim.holds for claim in found] == [True, False, True]
    assert [claim.bound for claim in found] == ["<= 4", "<= 2", "in [2, 2]"]
    with pytest.raises(ClaimFailed, match="b/error = 4"):
        found[1].verify()


def test_a_claim_about_nothing_names_what_is_near() -> None:
    (claim,) = claims({"metric": "a/eror", "at_most": 2}).judge(RUNS)
    with pytest.raises(ClaimFailed, match="Did you mean one of: a/error"):
        claim.verify()
    with pytest.raises(InvalidFile, match="Did you mean one of: b/error"):
        claims({"metric": "a/error", "at_most": "b/eror"}).judge(RUNS)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seeds: [3, 4]", "seeds: three", "For example 'seeds: [0, 1, 2]'"),
        ("seeds: [3, 4]", "seeds: []", "For example 'seeds: [0, 1, 2]'"),
        ("metrics:", "metric:", "under compare in pair.yaml"),
        ("{test/mse: error}", "test/mse", "under compare in pair.yaml"),
        ("{metric: first/test/mse, at_most: 5}", "{at_most: 5}", "under compare in pair.yaml"),
        ("at_most: 5", "most: 5", "under compare in pair.yaml"),
        ("metric: first/", "metric: frist/", "The parts are first, second"),
        ("at_least: first/", "at_least: third/", "The parts are first, second"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(
    recipe: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))
    assert main(["run", str(recipe)]) == 2
    told = capsys.readouterr()
    assert said in told.err and "results:" not in told.out


def test_seeds_that_go_nowhere_are_told(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text(recipe.read_text().replace("$seed", "1"))
    assert main(["run", str(recipe)]) == 2
    assert "without any $seed" in capsys.readouterr().err
