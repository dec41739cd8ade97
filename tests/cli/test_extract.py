"""`lightning-symmetry extract` reads any module's checkpoint, or says in one sentence why it cannot."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
import yaml

from lightning_symmetry.callbacks import extraction
from lightning_symmetry.cli import main
from lightning_symmetry.discovery import Discovery

QUIET = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
ROUND = ["--model", "pictures.Round", *QUIET]
CNN = ["--model", "pictures.Cnn", "--data", "pictures.Pictures", *QUIET]
RUNS = Path("lightning_symmetry_runs/extract")


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than everything else."""
    monkeypatch.setattr(extraction, "write_report", lambda found, folder, x: found.save(folder))


def train(kind: str, path: str, *arguments: Any, **changes: Any) -> str:
    """A checkpoint as a script of somebody's own leaves it, without any of us."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    module = importlib.import_module(kind.rpartition(".")[0])
    model = getattr(module, kind.rpartition(".")[2])(*arguments)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(max_steps=2, accelerator="cpu", **quiet)
    trainer.fit(model, None if kind.endswith("Round") else module.Pictures())
    trainer.save_checkpoint(path)
    if changes:
        torch.save({**torch.load(path, weights_only=True), **changes}, path)
    return path


@pytest.fixture
def turned(project: Path) -> str:
    return train("pictures.Round", "round.ckpt")


@pytest.fixture
def seen(project: Path) -> str:
    return train("pictures.Cnn", "cnn.ckpt", 4)


def tell(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line of what went wrong."""
    told = capsys.readouterr().err.strip()
    assert "Traceback" not in told
    return told.splitlines()[-1]


def test_what_a_checkpoint_respects_is_read_told_and_written(turned: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["extract", *ROUND, "--ckpt_path", turned, "--symmetry", "GL on vector -> scalar"]) == 0
    folder = RUNS / "round" / "symmetry" / "gl_on_vector_to_scalar"
    found = Discovery.load(folder)
    assert found.spectrum.declared == 3 and all(name.startswith("rotation") for name in found.canonical_names)
    assert found.spectrum.samples == 256 and found.held_out == "test"
    told = capsys.readouterr().out
    assert "symmetric: 3 of 9 directions hold" in told and f"report: {folder}" in told


def test_without_a_sentence_it_says_what_it_looks_for(seen: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The arguments of the module come from the checkpoint, and it is validated where it cannot be tested."""
    assert main(["extract", *CNN, "--ckpt_path", seen]) == 0
    assert "looks for 'affine on image -> label'" in capsys.readouterr().out
    (report,) = RUNS.rglob("report.json")
    assert Discovery.load(report.parent).held_out == "validation"


def test_several_sentences_are_read_in_one_go(turned: str) -> None:
    sentences = '["GL on vector -> scalar", "SO(3) on vector -> scalar"]'
    assert main(["extract", *ROUND, "--ckpt_path", turned, "--symmetry", sentences]) == 0
    assert len(list(RUNS.rglob("report.json"))) == 2


def test_a_configuration_of_a_fit_is_taken_without_its_callbacks_and_loggers(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = ["--trainer.callbacks+=LearnableAugmentation", "--trainer.callbacks.symmetries", "image -> label"]
    assert main(["fit", *CNN, *learn, "--model.channels", "3", "--trainer.max_steps", "2"]) == 0
    (config,), (checkpoint,) = project.rglob("config.yaml"), project.rglob("*.ckpt")
    before = set(project.rglob("lightning_logs/*"))
    assert main(["extract", "--config", str(config), "--ckpt_path", str(checkpoint), "--on", "validate"]) == 0
    assert set(project.rglob("lightning_logs/*")) == before
    assert list((RUNS / checkpoint.stem).rglob("report.json"))
    assert yaml.safe_load((RUNS / checkpoint.stem / "config.yaml").read_text())["trainer"]["callbacks"] is None


def test_the_report_goes_where_it_is_wanted(turned: str) -> None:
    arguments = ["--ckpt_path", turned, "--symmetry", "SO(3) on vector -> scalar"]
    assert main(["extract", *ROUND, *arguments, "--trainer.default_root_dir", "elsewhere"]) == 0
    assert list(Path("elsewhere").rglob("report.json")) and not RUNS.exists()


def test_a_class_that_a_script_called_main_is_the_same(project: Path) -> None:
    named = {"channels": 4, "_class_path": "__main__.Cnn", "unknown": 3}
    path = train("pictures.Cnn", "main.ckpt", 4, hyper_parameters=named)
    assert main(["extract", *CNN, "--ckpt_path", path, "--symmetry", "SO(2) on image -> label"]) == 0


def test_the_network_can_be_named(seen: str) -> None:
    head = ["--module", "head", "--symmetry", "GL on vector -> learned"]
    assert main(["extract", *CNN, "--ckpt_path", seen, *head]) == 0
    (report,) = RUNS.rglob("report.json")
    assert Discovery.load(report.parent).spectrum.samples == 64


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*CNN], "got no checkpoint; expected the trained weights"),
        ([*CNN, "--ckpt_path", "best"], "Give --ckpt_path the file that training left"),
        ([*CNN, "--ckpt_path", "none.ckpt"], "no checkpoint 'none.ckpt'"),
        ([*CNN, "--ckpt_path", "text.ckpt"], "which cannot be read"),
        ([*CNN, "--ckpt_path", "weights.pt"], "a checkpoint of Lightning"),
        ([*CNN, "--ckpt_path", "pickled.ckpt"], "--weights_only false"),
        ([*CNN, "--ckpt_path", "named.ckpt"], "a checkpoint of mine.Mine, for pictures.Cnn"),
        ([*CNN, "--ckpt_path", "other.ckpt"], "whose weights are not those of Cnn"),
        ([*CNN, "--ckpt_path", "cnn.ckpt", "--on", "test"], "Use --on validate"),
        ([*CNN, "--ckpt_path", "cnn.ckpt", "--on", "fit"], "on cannot be fit"),
        ([*CNN, "--ckpt_path", "cnn.ckpt", "--symetry", "x -> y"], "Did you mean 'symmetry'?"),
        ([*CNN, "--ckpt_path", "cnn.ckpt", "--symmetry", "imge -> label"], "Did you mean image"),
        ([*CNN, "--ckpt_path", "cnn.ckpt", "--symmetry", "SO(3) on image -> label"], "3"),
        ([*CNN, "--ckpt_path", "cnn.ckpt", "--symmetry", "C4 on image -> label"], "no generators"),
        ([*CNN, "--ckpt_path", "cnn.ckpt", "--delta", "1.5"], "delta=1.5"),
        ([*CNN, "--ckpt_path", "cnn.ckpt", "--backend", "magic"], "backend='magic'"),
        ([*CNN, "--ckpt_path", "cnn.ckpt", "--module", "neck"], "module='neck'"),
        ([*CNN, "--ckpt_path", "cnn.ckpt", "--trainer.limit_val_batches", "0"], "without a single batch"),
        (["--model", "pictures.Bare", "--data", "pictures.Pictures", "--ckpt_path", "cnn.ckpt"], "Add validation_step"),
        (["--model", "pictures.Cnn", "--ckpt_path", "cnn.ckpt"], "Give --data"),
        (["--data", "pictures.Pictures", "--ckpt_path", "cnn.ckpt"], "Give 'model'"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else "",
)
def test_what_cannot_be_read_is_told_in_one_sentence(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    train("pictures.Cnn", "cnn.ckpt", 2)
    saved = torch.load("cnn.ckpt", weights_only=True)
    Path("text.ckpt").write_text("hello")
    torch.save(saved["state_dict"], "weights.pt")
    torch.save({**saved, "hyper_parameters": {"channels": argparse.Namespace(n=2)}}, "pickled.ckpt")
    torch.save({**saved, "hyper_parameters": {"_class_path": "mine.Mine", "width": 3}}, "named.ckpt")
    torch.save({**saved, "state_dict": {"net.weight": torch.ones(2)}}, "other.ckpt")
    assert main(["extract", *arguments]) == 2
    told = tell(capsys)
    assert said in told and told.startswith("got ") and "; expected " in told
    assert not list(RUNS.rglob("report.json"))


def test_an_error_of_the_module_itself_comes_out_as_it_is(project: Path) -> None:
    path = train("pictures.Cnn", "cnn.ckpt")
    spoilt = 'def validation_step(self, batch, batch_idx):\n        raise KeyError("spoilt")\n'
    text = Path("pictures.py").read_text().replace("def validation_step(self, batch, batch_idx):\n", spoilt)
    Path("later.py").write_text(text)
    later = ["--model", "later.Cnn", *CNN[2:]]
    with pytest.raises(KeyError, match="spoilt"):
        main(["extract", *later, "--ckpt_path", path])


def test_pickles_are_read_where_they_are_trusted(project: Path) -> None:
    path = train("pictures.Cnn", "cnn.ckpt", 4, hyper_parameters={"channels": argparse.Namespace(n=4)})
    trusted = ["--weights_only", "false", "--model.channels", "4"]
    assert main(["extract", *CNN, "--ckpt_path", path, *trusted, "--symmetry", "SO(2) on image -> label"]) == 0
