"""The command line runs recipes, tells what holds, and says in one sentence what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from lightning_symmetry.cli import main
from lightning_symmetry.recipe import list_recipes

MNIST_ROOT = Path(os.environ.get("MNIST_ROOT", "data")).resolve()

RECIPE = """\
# Fit a line through vectors.
# It is too small to be good.
# measured: error 0.9
seed_everything: 0
model:
  class_path: lightning_symmetry.hosts.Regressor
  init_args: {inputs: 4, outputs: 2, hidden: [8]}
data:
  class_path: lightning_symmetry.data.PlanarVectors
  init_args: {samples: 64, batch_size: 32}
trainer:
  accelerator: cpu
  max_epochs: 1
  limit_val_batches: 1
  limit_test_batches: 1
  enable_progress_bar: false
  enable_checkpointing: false
  callbacks:
    - class_path: lightning_symmetry.callbacks.Expect
      init_args: {metric: test/mse, at_most: 5}
    - class_path: lightning_symmetry.callbacks.Expect
      init_args: {metric: val/mse, at_least: 0}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


def change(recipe: Path, old: str, new: str) -> str:
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))
    return str(recipe)


def test_claims_that_hold_give_zero_and_a_table(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(recipe)]) == 0
    lines = capsys.readouterr().out.splitlines()
    header, test, val = (line.split() for line in lines[-3:])
    assert header == ["metric", "measured", "bound", "holds"]
    assert (test[0], test[2:]) == ("test/mse", ["<=", "5", "yes"])
    assert (val[0], val[2:]) == ("val/mse", [">=", "0", "yes"])
    assert float(test[1]) > 0
    assert (recipe.parent / "lightning_symmetry_runs/tiny").is_dir()


def test_a_claim_that_fails_gives_one_and_a_sentence(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", change(recipe, "at_most: 5", "at_most: 0.0001")]) == 1
    told = capsys.readouterr()
    assert "NO" in told.out and "yes" in told.out  # the claims after it are judged too
    assert told.err.strip().startswith("got test/mse = ")
    assert "Traceback" not in told.err


def test_a_claim_about_nothing_fails(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", change(recipe, "metric: test/mse", "metric: test/mes")]) == 1
    told = capsys.readouterr()
    assert "never" in told.out
    assert "Did you mean one of: test/mse," in told.err


def test_overrides_reach_the_recipe(recipe: Path) -> None:
    arguments = ["--trainer.max_epochs", "2", "--data.init_args.samples=33", "--seed_everything", "7"]
    assert main(["run", str(recipe), *arguments]) == 0
    saved = yaml.safe_load(next(recipe.parent.rglob("config.yaml")).read_text())
    assert saved["trainer"]["max_epochs"] == 2
    assert saved["data"]["init_args"]["samples"] == 33
    assert saved["seed_everything"] == 7


def test_parts_run_in_turn_and_all_claims_count(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = RECIPE.replace("at_most: 5", "at_most: 0.0001")
    recipe.write_text(f"{RECIPE}---\nname: strict one\n{second}")
    assert main(["run", str(recipe)]) == 1
    told = capsys.readouterr()
    assert "tiny: part 1" in told.out and "tiny: strict one" in told.out
    assert [line.split()[-1] for line in told.out.splitlines()[-4:]] == ["yes", "yes", "NO", "yes"]
    folders = {path.name for path in (recipe.parent / "lightning_symmetry_runs/tiny").iterdir()}
    assert folders == {"part_1", "strict_one"}


def test_same_seed_same_measure(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = []
    for _ in range(2):
        main(["run", str(recipe)])
        tables.append(capsys.readouterr().out.splitlines()[-2:])
    assert tables[0] == tables[1]


def test_a_recipe_without_claims_says_so(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text(RECIPE[: RECIPE.index("  callbacks:")])
    assert main(["run", str(recipe)]) == 0
    assert "no claim" in capsys.readouterr().out


def test_output_is_quiet(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", str(recipe)])
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 4, told.out
    assert "GPU available" not in told.err and "litlogger" not in told.err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("max_epochs: 1", "max_epoch: 1", "Did you mean 'max_epochs'?"),
        ("max_epochs: 1", "max_epochs: many", "cannot be many"),
        ("samples: 64", "sample: 64", "Did you mean 'samples'?"),
        ("hosts.Regressor", "hosts.Regresser", "has no attribute 'Regresser'"),
        ("model:", "modle:", "Did you mean 'model'?"),
        ("metric: test/mse, at_most: 5", "metric: test/mse", "Give Expect a bound"),
        ("samples: 64", "samples: 0", "The defaults are 4000"),
        ("{samples: 64,", "{samples: 64", "line 10 of tiny.yaml"),
        ("    - class_path: lightning_symmetry.callbacks.Expect", "   - class_path: x", "tiny.yaml"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    recipe: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    assert main(["run", change(recipe, old, new)]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told and len(told.strip().splitlines()) == 1


def test_an_unknown_override_is_told(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(recipe), "--trainer.max_epocs", "3"]) == 2
    assert "Did you mean 'trainer.max_epochs'?" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "# only a comment\n", "- a list\n"])
def test_a_file_that_is_no_recipe_is_told(recipe: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    recipe.write_text(text)
    assert main(["run", str(recipe)]) == 2
    assert "tiny.yaml" in capsys.readouterr().err


def test_a_recipe_without_model_is_told(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start, end = RECIPE.index("model:"), RECIPE.index("data:")
    recipe.write_text(RECIPE[:start] + RECIPE[end:])
    assert main(["run", str(recipe)]) == 2
    assert "model" in capsys.readouterr().err


def test_an_unknown_recipe_names_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "semola_digit"]) == 2
    told = capsys.readouterr().err
    assert "Did you mean 'semola_digits'?" in told and "semola_vectors" in told


def test_a_missing_file_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_a_missing_extra_is_told(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning_symmetry.lightning_cli.find_spec", lambda name: None)
    assert main(["run", str(recipe)]) == 2
    assert "pip install 'lightning-symmetry[recipes]'" in capsys.readouterr().err


def test_a_missing_escnn_is_told_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "escnn", None)
    assert main(["run", "escnn_digits"]) == 2
    told = capsys.readouterr()
    assert "the recipe 'escnn_digits' without escnn" in told.err and "pip install --no-deps escnn" in told.err
    assert len(told.err.strip().splitlines()) == 1 and not list(tmp_path.iterdir())


def test_recipes_are_listed_with_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    told = capsys.readouterr().out
    for recipe in list_recipes():
        assert recipe.name in told
        line, measured = recipe.summary
        assert line and measured and line in told, f"{recipe.name} lacks its first line or `# measured:`"


def place_of_data(recipe: object) -> list[str]:
    """Say where the files lie that a recipe reads and no package brings; without them there is nothing to run."""
    if recipe.needs_escnn and find_spec("escnn") is None:
        pytest.skip("escnn has an environment of its own")
    if recipe.name.endswith("_mocap"):
        if "MOCAP_FILE" not in os.environ:
            pytest.skip("set MOCAP_FILE to the motion capture that data.MotionCapture reads")
        return ["--data.init_args.path", os.environ["MOCAP_FILE"]]
    if not recipe.name.endswith("_mnist"):
        return []
    if not (MNIST_ROOT / "MNIST" / "raw").is_dir():
        pytest.skip(f"no MNIST/raw in {MNIST_ROOT}: set MNIST_ROOT to the folder above torchvision's MNIST")
    return ["--data.init_args.root", str(MNIST_ROOT)]


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_every_recipe_can_be_read(recipe: object) -> None:
    for _, text in recipe.parts:
        part = yaml.safe_load(text)
        assert {"seed_everything", "model", "data", "trainer"} <= set(part)
        claims = [c for c in part["trainer"].get("callbacks", []) if c["class_path"].endswith(".Expect")]
        assert claims or (recipe.comparison and recipe.comparison.expect), "a recipe claims something"


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_every_claim_is_about_something_that_is_measured(
    recipe: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if "symmetry: lightning_symmetry_runs/" in recipe.path.read_text():
        pytest.skip("two batches find nothing that a later part could build in")
    short = ["max_epochs=1", "limit_train_batches=2", "enable_progress_bar=false"]
    place = place_of_data(recipe)
    code = main(["run", recipe.name, *(f"--trainer.{setting}" for setting in short), *place])
    told = capsys.readouterr()
    assert code in (0, 1), told.err  # two batches need not be enough to hold
    assert " never " not in told.out, told.err


def test_help_of_a_recipe_tells_what_it_is(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(recipe), "--help"]) == 0
    told = capsys.readouterr().out
    assert "Fit a line through vectors." in told and "--trainer.max_epochs" in told


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["recipes", "--help"]])
def test_help_teaches(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    told = capsys.readouterr().out
    if arguments == ["--help"]:
        assert "lightning-symmetry run semola_digits --trainer.max_epochs 3" in told


def test_help_does_not_wait_for_lightning() -> None:
    code = "import sys, lightning_symmetry.cli; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_every_claim_of_every_recipe_holds(
    recipe: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = main(["run", recipe.name, "--trainer.enable_progress_bar", "false", *place_of_data(recipe)])
    assert code == 0, capsys.readouterr()
