"""The hosts learn, log what they promise, and know nothing of symmetry."""

from __future__ import annotations

import lightning.pytorch as L
import pytest
import torch

from lightning_symmetry.data import PlanarVectors, RotatedDigits
from lightning_symmetry.hosts import Classifier, ImageClassifier, Regressor, ResNet18Classifier


def metrics(module: L.LightningModule, data: L.LightningDataModule, epochs: int) -> dict[str, float]:
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, datamodule=data)
    found = dict(trainer.callback_metrics)
    trainer.test(module, datamodule=data, verbose=False)
    return {name: float(value) for name, value in {**found, **trainer.callback_metrics}.items()}


def test_regressor_learns() -> None:
    torch.manual_seed(0)
    found = metrics(Regressor(4, 2, hidden=[64], lr=1e-2), PlanarVectors(samples=1000), 10)
    assert {"train/loss", "val/mse", "test/mse"} <= set(found)
    assert found["test/mse"] < 0.3  # the variance of the target is 1


def test_classifier_learns() -> None:
    torch.manual_seed(0)
    found = metrics(Classifier(), RotatedDigits(degrees=0), 5)
    assert {"train/loss", "val/accuracy", "test/accuracy"} <= set(found)
    assert found["test/accuracy"] > 0.7


def test_resnet_takes_small_images() -> None:
    module = ResNet18Classifier(classes=7)
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert isinstance(module.configure_optimizers(), torch.optim.SGD)


def test_what_classifiers_share_is_abstract() -> None:
    with pytest.raises(TypeError):
        ImageClassifier(torch.nn.Identity(), 2, 0.1)
