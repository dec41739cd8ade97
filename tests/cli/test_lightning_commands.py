"""Lightning's own commands run on anybody's module, know our short names, and say in one sentence what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from lightning_symmetry.cli import COMMANDS, EXAMPLES, main

QUICK = [
    *("--model", "mine.Mine", "--data", "mine.Data", "--seed_everything", "0"),
    *("--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
    *("--trainer.enable_model_summary", "false"),
]
LEARN = ["--trainer.callbacks+=LearnableAugmentation", "--trainer.callbacks.symmetries", "vector(2) -> vector"]
DESCRIBED = """
callbacks:
  - class_path: LearnableAugmentation
    init_args:
      symmetries:
        - {over: learned(2), input: vector(2), output: vector}
        - SO(2) on vector(2) -> vector
      losses:
        - {class_path: lightning_symmetry.losses.Equivariance, init_args: {views: 2}}
        - NormReward
      balance: {class_path: lightning_symmetry.balancing.Ramp, init_args: {strengths: [1.0, 0.05], start: 1}}
      name: described
  - class_path: semola
    init_args: {symmetry: "vector(2) -> vector", preset: compact}
  - class_path: Expect
    init_args: {metric: val/loss, at_least: 0.0}
"""


@pytest.fixture
def described(project: Path) -> list[str]:
    """Arguments of a run whose callbacks are nested in every way that YAML allows."""
    trainer = {**yaml.safe_load(DESCRIBED), "log_every_n_steps": 1}
    config = {"trainer": trainer}
    (project / "described.yaml").write_text(yaml.safe_dump(config))
    return [*QUICK, "--config", "described.yaml"]


def print_config(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["fit", *arguments, "--print_config"])
    assert stop.value.code in (0, None)
    return capsys.readouterr().out


def saved_weights(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = folder.rglob("*.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    own = {
        f"{key}.{i}.{name}": value
        for key, state in checkpoint["callbacks"].items()
        for i, symmetry in enumerate(state.get("symmetries", []))
        for name, value in symmetry.items()
    }
    return {**checkpoint["state_dict"], **own}


def test_a_project_of_ones_own_is_fitted_validated_tested_and_predicted(project: Path) -> None:
    assert main(["fit", *QUICK, *LEARN, "--model.width", "8"]) == 0
    (checkpoint,) = project.rglob("*.ckpt")
    (config,) = project.rglob("config.yaml")
    assert yaml.safe_load(config.read_text())["model"]["init_args"]["width"] == 8
    for command in ("validate", "test", "predict"):
        assert main([command, *QUICK, "--model.width", "8", "--ckpt_path", str(checkpoint)]) == 0


def test_claims_are_judged(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim = ["--trainer.callbacks+=Expect", "--trainer.callbacks.metric", "val/loss", "--trainer.callbacks.at_most"]
    assert main(["fit", *QUICK, *claim, "1000"]) == 0
    assert main(["fit", *QUICK, *claim, "0"]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("got val/loss = ")


def test_short_names_stand_for_class_paths(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*LEARN, "--trainer.callbacks.balance", "Ramp", "--trainer.callbacks.balance.start", "3"]
    room = ["--trainer.callbacks+=semola", "--trainer.callbacks.symmetry", "image -> label"]
    names = ["--model", "Classifier", "--data", "RotatedDigits", "--data.degrees", "45"]
    config = yaml.safe_load(print_config([*names, *arguments, *room], capsys))
    assert config["model"]["class_path"].endswith(".Classifier")
    assert config["data"]["class_path"].endswith(".RotatedDigits") and config["data"]["init_args"]["degrees"] == 45
    learnt, preset = config["trainer"]["callbacks"]
    assert learnt["init_args"]["symmetries"] == "vector(2) -> vector"
    assert learnt["init_args"]["balance"]["class_path"] == "lightning_symmetry.balancing.Ramp"
    assert learnt["init_args"]["balance"]["init_args"]["start"] == 3
    assert preset["class_path"] == "lightning_symmetry.methods.semola"


def test_a_printed_configuration_prints_itself(described: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    first = print_config(described, capsys)
    Path("printed.yaml").write_text(first)
    assert print_config(["--config", "printed.yaml"], capsys) == first
    symmetries = yaml.safe_load(first)["trainer"]["callbacks"][0]["init_args"]["symmetries"]
    assert symmetries[0] == {"over": "learned(2)", "input": "vector(2)", "output": "vector"}


def test_a_printed_configuration_trains_to_the_same_result(
    described: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("printed.yaml").write_text(print_config(described, capsys))
    found = []
    for name, arguments in (("given", described), ("printed", ["--config", "printed.yaml"])):
        assert main(["fit", *arguments, "--trainer.default_root_dir", name]) == 0
        found.append(saved_weights(Path(name)))
    given, printed = found
    assert given.keys() == printed.keys() and any("described" in key for key in given)
    assert all(torch.equal(given[key], printed[key]) for key in given)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("model: {class_path: mine.Mine, init_args: {widht: 3}}", "Did you mean 'width'?"),
        ("model: {class_path: mine.Mine, init_arg: {width: 3}}", "Did you mean 'init_args'?"),
        ("modle: {class_path: mine.Mine}", "Did you mean 'model'?"),
        ("model: mine.Mint", "Did you mean 'Mine'?"),
        ("model: mein.Mine", "the working directory can be imported from"),
        ("model: Classifer", "Did you mean 'Classifier'?"),
        ("{model: mine.Mine, trainer: {max_epoch: 3}}", "Did you mean 'trainer.max_epochs'?"),
        ("{model: mine.Mine, trainer: {max_epochs: many}}", "trainer.max_epochs cannot be many"),
        ("{model: mine.Mine, trainer: {callbacks: [LearnableAugmentatoin]}}", "Did you mean 'LearnableAugmentation'?"),
        ("{model: mine.Mine, trainer: {callbacks: [{class_path: semolo}]}}", "Did you mean 'semola'?"),
        ("{model: mine.Mine, trainer: {callbacks: [semola]}}", "Give 'symmetry'."),
        ("{model: mine.Mine, trainer: {callbacks: [{class_path: LearnableAugmentation,"
         " init_args: {symmetries: image -> label, balance: Rampp}}]}}", "Did you mean 'Ramp'?"),
        ("{model: mine.Mine, trainer: {callbacks: [{class_path: LearnableAugmentation,"
         " init_args: {symmetries: image -> label, balance: {class_path: Ramp, init_args: {strt: 2}}}}]}}",
         "Did you mean 'start'?"),
        ("{model: mine.Mine, trainer: {callbacks: [{class_path: LearnableAugmentation,"
         " init_args: {symmetries: imge -> label}}]}}", "Did you mean image?"),
        ("{model: mine.Mine, data: mine.Dat}", "Did you mean 'Data'?"),
        ("trainer: {}", "Give 'model'."),
        ("model: [", "line"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_sentence(
    project: Path, capsys: pytest.CaptureFixture[str], config: str, said: str
) -> None:
    (project / "config.yaml").write_text(config)
    assert main(["fit", "--config", "config.yaml"]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in told and told.startswith("got ") and "; expected " in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fitt"], "Did you mean 'fit'?"),
        (["nonsense"], "lightning-symmetry --help"),
        (["fit", *QUICK, "--trainer.max_epoch", "1"], "Did you mean 'trainer.max_epochs'?"),
        (["fit", *QUICK, "--trainer.callbacks+=Expext"], "Did you mean 'Expect'?"),
        (["fit", *QUICK, *LEARN, "--trainer.callbacks.symetries", "x"], "Did you mean 'symmetries'?"),
        (["fit", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["fit"], "Give 'model'."),
    ],
)
def test_slips_on_the_command_line_are_told(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_a_recipe_takes_short_names_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "own.yaml").write_text(
        "seed_everything: 0\nmodel: mine.Mine\ndata: mine.Data\ntrainer:\n  accelerator: cpu\n  max_epochs: 1\n"
        "  enable_progress_bar: false\n  callbacks:\n"
        "    - {class_path: semola, init_args: {symmetry: vector(2) -> vector}}\n"
        "    - {class_path: Expect, init_args: {metric: test/loss, at_least: 0}}\n"
    )
    assert main(["run", "own.yaml"]) == 0
    assert "test/loss" in capsys.readouterr().out


@pytest.mark.parametrize("command", EXAMPLES)
def test_help_begins_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    told = capsys.readouterr().out
    examples, options = told.split("\noptions:", 1)
    assert examples.count(f"\n  lightning-symmetry {command} ") in (2, 3)
    assert "--trainer.max_epochs" in options and "--ckpt_path" in options


def test_help_of_a_callback_is_found_by_its_short_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--trainer.callbacks.help", "LearnableAugmentation"])
    assert "--trainer.callbacks.symmetries" in capsys.readouterr().out


def test_help_lists_every_command_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert {line[0] for line in lines if len(line) == 2} >= set(COMMANDS)


@pytest.mark.slow
def test_the_installed_command_finds_modules_beside_it(project: Path) -> None:
    command = [sys.executable, "-P", "-m", "lightning_symmetry"]  # -P: the interpreter leaves the folder out
    done = subprocess.run([*command, "fit", *QUICK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
