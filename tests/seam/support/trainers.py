"""Rows of the support table on ways to run a trainer and on other callbacks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from lightning.pytorch.callbacks import BatchSizeFinder, EarlyStopping, LearningRateFinder, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.profilers import SimpleProfiler
from lightning.pytorch.tuner import Tuner

from tests.seam.boring import fit, make_loader, make_trainer, same, weights
from tests.seam.support.columns import Augmenting, Column, Extracting, compare
from tests.seam.support.hosts import Noisy, Plain, SeveralValidations, Sized
from tests.seam.support.saving import assert_same_end


def develop_fast(column: Column) -> None:
    compare(column, fast_dev_run=2, val=lambda: make_loader(2, seed=5))
    assert not [path for path in Path.cwd().rglob("*") if path.is_file()]


def check_sanity(column: Column) -> None:
    """What is validated before training is counted by nobody."""
    trainer, host, added = compare(column, val=lambda: make_loader(2, seed=5), num_sanity_val_steps=2)
    assert column.batches(added) in (None, host.batches)
    other, again = column.host(Plain), column.build()
    fit(other, *again, val=make_loader(2, seed=5), num_sanity_val_steps=0)
    assert_same_end(column, (host, added), (other, again))


def validate_often(column: Column) -> None:
    """Validation in the middle of an epoch changes nothing in training, and the verdict is made on its data."""
    trainer, host, added = compare(column, val=lambda: make_loader(2, seed=5), val_check_interval=2, max_epochs=2)
    other, again = column.host(Plain), column.build()
    fit(other, *again, max_epochs=2)
    assert_same_end(column, (host, added), (other, again))
    assert_judged_on(column, added, "validation")


def assert_judged_on(column: Column, added: list[Any], held_out: str) -> None:
    if isinstance(column, (Augmenting, Extracting)):
        assert [found.held_out for found in added[0].discoveries] == [held_out]


def validate_several(column: Column) -> None:
    loaders = [make_loader(2, seed=5), make_loader(1, seed=6)]
    _, _, added = compare(column, SeveralValidations, val=lambda: loaders)
    assert_judged_on(column, added, "validation")


def stop_early(column: Column) -> None:
    """Both callbacks read a metric of ours: the best checkpoint has a score, and no improvement ends the run."""
    best = ModelCheckpoint(dirpath="best", monitor=column.metric, mode="max")
    patient = EarlyStopping(monitor=column.metric, mode="max", min_delta=1e9, patience=1, check_on_train_epoch_end=True)
    host, added = column.host(Plain), column.build()
    settings = {"max_epochs": 9, "enable_checkpointing": True, "log_every_n_steps": 1}
    trainer = fit(host, *added, best, patient, val=column.evaluate(), **settings)
    assert best.best_model_score is not None and torch.isfinite(best.best_model_score)
    assert Path(best.best_model_path).exists() and trainer.current_epoch < 9
    other, again = column.host(Plain), column.build()
    fit(other, *again, val=column.evaluate(), max_epochs=trainer.current_epoch, log_every_n_steps=1)
    assert_same_end(column, (host, added), (other, again))


def log_nowhere(column: Column) -> None:
    trainer, _, _ = compare(column, logger=False)
    assert column.metric in trainer.callback_metrics and not list(Path.cwd().rglob("*.csv"))


def log_somewhere(column: Column) -> None:
    trainer, _, _ = compare(column, logger=lambda: CSVLogger("logs"), log_every_n_steps=1)
    header, *lines = Path(trainer.logger.log_dir, "metrics.csv").read_text().splitlines()
    assert any(name.startswith(column.metric) for name in header.split(",")) and len(lines) >= 4


def profile(column: Column) -> None:
    """The profiler lists the time of our hooks, and changes nothing."""
    trainer, _, added = compare(column, profiler=lambda: SimpleProfiler(dirpath=".", filename="profile"))
    recorded = " ".join(trainer.profiler.recorded_durations)
    assert all(f"[Callback]{type(callback).__name__}" in recorded for callback in added) and "training_step" in recorded


BARE: dict[str, Any] = {
    "barebones": True,
    "logger": None,
    "enable_checkpointing": None,
    "enable_progress_bar": None,
    "enable_model_summary": None,
}


def run_bare(column: Column) -> None:
    trainer, host, added = compare(column, **BARE)
    assert column.batches(added) in (None, 4) and host.batches == 4
    assert "loss" not in trainer.callback_metrics


def run_without_fit(column: Column) -> None:
    """Validating, testing and predicting are those of a trainer without us, to the last bit; nothing is learnt."""
    runs = []
    for kind, added in ((Noisy, []), (partial(column.host, Noisy), column.build())):
        torch.manual_seed(3)
        host, trainer = kind(), make_trainer(*added)
        before = weights(host)
        metrics = trainer.validate(host, make_loader(2), verbose=False) + trainer.test(
            host, make_loader(2), verbose=False
        )
        answers = trainer.predict(host, make_loader(2))
        assert same(before, weights(host)) and not {"training_step", "forward"} & vars(host).keys()
        own = [{name: value for name, value in one.items() if not name.startswith("symmetry/")} for one in metrics]
        runs.append((repr(own), torch.cat(answers).tolist(), torch.get_rng_state().tolist()))
        assert not added or column.batches(added) in (None, 0)
    assert runs[0] == runs[1]


def search_rate_before(column: Column) -> None:
    """Training after a search is training without one, to the last bit."""
    host, added = column.host(Plain), column.build()
    trainer = make_trainer(*added)
    found = Tuner(trainer).lr_find(host, make_loader(), num_training=10, update_attr=False)
    assert len(found.results["lr"]) > 1 and "training_step" not in vars(host)
    assert column.batches(added) in (None, 0)
    trainer.fit(host, make_loader())
    other, again = column.host(Plain), column.build()
    fit(other, *again)
    assert_same_end(column, (host, added), (other, again))


def search_rate_within(column: Column) -> None:
    for order in (1, -1):
        host, added = column.host(Plain), column.build()
        searching = LearningRateFinder(num_training_steps=5, update_attr=False)
        fit(host, *[searching, *added][::order])
        assert host.batches > 4 and searching.optimal_lr is not None
        other, again = column.host(Plain), column.build()
        fit(other, *again)
        assert_same_end(column, (host, added), (other, again))


def untidy() -> AbstractContextManager[Any]:
    """Finders collect garbage between trials, which takes seconds in a long session of tests."""
    return mock.patch("lightning.pytorch.tuner.batch_size_scaling.garbage_collection_cuda")


def search_batch_size_before(column: Column) -> None:
    host, added = column.host(Sized), column.build()
    trainer = make_trainer(*added)
    with untidy():
        Tuner(trainer).scale_batch_size(host, max_trials=2, steps_per_trial=2, mode="power")
    assert column.batches(added) in (None, 0)
    trainer.fit(host)
    assert_as_with_that_size(column, host, added)


def search_batch_size_within(column: Column) -> None:
    for order in (1, -1):
        host, added = column.host(Sized), column.build()
        searching = BatchSizeFinder(max_trials=2, steps_per_trial=2, mode="power")
        trainer = make_trainer(*[searching, *added][::order])
        with untidy():
            trainer.fit(host)
        assert searching.optimal_batch_size == host.batch_size > 2
        assert_as_with_that_size(column, host, added)


def assert_as_with_that_size(column: Column, host: Any, added: list[Any]) -> None:
    other, again = column.host(Sized, batch_size=host.batch_size), column.build()
    make_trainer(*again).fit(other)
    assert column.batches(again) in (None, other.batches)
    assert_same_end(column, (host, added), (other, again))
