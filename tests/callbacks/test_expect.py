"""A claim fails the run that measured it, and nothing else."""

from __future__ import annotations

import lightning.pytorch as L
import pytest
import pytorch_lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_symmetry.callbacks import Expect
from lightning_symmetry.exceptions import ClaimFailed, InvalidSetting


def host(package: object) -> object:
    class Host(package.LightningModule):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.value = torch.nn.Parameter(torch.zeros(()))

        def training_step(self, batch: object, batch_idx: int) -> torch.Tensor:
            self.log("train/value", 0.5)
            return self.value**2

        def test_step(self, batch: object, batch_idx: int) -> None:
            self.log("test/value", 0.75)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Host()


def loader() -> DataLoader:
    return DataLoader(TensorDataset(torch.zeros(2, 1)), batch_size=1)


def trainer(*callbacks: object, package: object = L) -> L.Trainer:
    return package.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.mark.parametrize("package", [L, pytorch_lightning])
def test_a_claim_that_holds_is_silent(package: object) -> None:
    claims = [Expect("train/value", at_least=0.5, at_most=0.5), Expect("test/value", at_most=0.8)]
    run = trainer(*claims, package=package)
    module = host(package)
    run.fit(module, loader())
    run.test(module, loader(), verbose=False)
    for claim in claims:
        claim.verify()
        assert claim.holds
    assert [claim.measured for claim in claims] == [0.5, 0.75]


@pytest.mark.parametrize("package", [L, pytorch_lightning])
@pytest.mark.parametrize("bounds", [{"at_least": 0.6}, {"at_most": 0.4}])
def test_a_claim_that_fails_ends_the_training(package: object, bounds: dict[str, float]) -> None:
    with pytest.raises(ClaimFailed, match="train/value = 0.5"):
        trainer(Expect("train/value", **bounds), package=package).fit(host(package), loader())


def test_a_claim_about_the_test_waits_for_the_test() -> None:
    claim = Expect("test/value", at_least=0.9)
    run = trainer(claim)
    module = host(L)
    run.fit(module, loader())
    with pytest.raises(ClaimFailed, match="test/value = 0.75"):
        run.test(module, loader(), verbose=False)


def test_a_claim_about_training_is_not_judged_again_by_the_test() -> None:
    claim = Expect("train/value", at_least=0.9)
    run = trainer(claim)
    module = host(L)
    with pytest.raises(ClaimFailed):
        run.fit(module, loader())
    run.test(module, loader(), verbose=False)
    assert claim.measured == 0.5


def test_a_deferred_claim_waits_for_verify() -> None:
    claim = Expect("train/value", at_least=0.6).defer()
    trainer(claim).fit(host(L), loader())
    with pytest.raises(ClaimFailed):
        claim.verify()


def test_values_that_earlier_callbacks_write_are_seen() -> None:
    class Writer(L.Callback):
        def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            trainer.callback_metrics["symmetry/x/cosine"] = torch.tensor(0.99)

    claim = Expect("symmetry/x/cosine", at_least=0.9)
    run = trainer(Writer(), claim)
    module = host(L)
    run.fit(module, loader())
    run.test(module, loader(), verbose=False)
    assert claim.measured == pytest.approx(0.99)


def test_nan_never_holds() -> None:
    claim = Expect("loss", at_least=-1e9)
    claim.measured = float("nan")
    with pytest.raises(ClaimFailed, match="nan"):
        claim.verify()
    assert not Expect("loss", at_most=1e9).holds


def test_a_metric_that_was_never_measured_names_what_exists() -> None:
    claim = Expect("train/valu", at_least=0)
    trainer(claim).fit(host(L), loader())
    with pytest.raises(ClaimFailed, match="Did you mean one of: train/value"):
        claim.verify()


def test_a_second_training_forgets_the_first() -> None:
    claim = Expect("train/value", at_least=0.5)
    trainer(claim).fit(host(L), loader())
    claim.metric = "elsewhere"
    trainer(claim).fit(host(L), loader())
    assert claim.measured is None


@pytest.mark.parametrize("bounds", [{}, {"at_least": 2.0, "at_most": 1.0}])
def test_bounds_that_mean_nothing_are_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(InvalidSetting):
        Expect("x", **bounds)


@pytest.mark.parametrize(
    ("bounds", "text"),
    [({"at_least": 1.0}, ">= 1"), ({"at_most": 1.0}, "<= 1"), ({"at_least": 0.0, "at_most": 1.0}, "in [0, 1]")],
)
def test_bounds_are_written_as_text(bounds: dict[str, float], text: str) -> None:
    assert Expect("x", **bounds).bound == text
