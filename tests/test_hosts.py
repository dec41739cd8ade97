"""The hosts learn, log what they promise, and know nothing of symmetry."""

from __future__ import annotations

import lightning.pytorch as L
import pytest
import torch

from lightning_symmetry.data import Inertia, PlanarVectors, PointClouds, Rings, RotatedDigits, Trajectories
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.hosts import (
    Classifier,
    LabelClassifier,
    MotionRegressor,
    PointRegressor,
    Regressor,
    ResNet18Classifier,
    TensorRegressor,
    VectorClassifier,
    VectorRegressor,
)


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


def test_residual_regressor_predicts_the_change() -> None:
    torch.manual_seed(0)
    module = Regressor(4, 4, hidden=[8], residual=True)
    x = torch.randn(5, 4)
    last = list(module.net.net)[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    assert torch.equal(module(x), x)
    with pytest.raises(InvalidSetting, match="4 to 2"):
        Regressor(4, 2, residual=True)


def test_motion_regressor_learns_and_measures_distances() -> None:
    torch.manual_seed(0)
    module = MotionRegressor(18, 18, [32], lr=1e-2, unit=2.0)
    found = metrics(module, Trajectories(samples=1000), 20)
    assert {"train/loss", "val/mse", "test/mse", "val/ade", "test/ade"} <= set(found)
    # who foretells the last position is 1.3 m off on average; measured after so few epochs: 0.93
    assert found["test/ade"] < 1.05
    # a mean distance is at most the root of the mean square of all three components
    assert 0.3 * (3 * found["test/mse"]) ** 0.5 < found["test/ade"] < (3 * found["test/mse"]) ** 0.5
    x = torch.randn(5, 18)
    torch.testing.assert_close(module(x), 2 * module.net.net(x / 2))


def test_point_regressor_learns_whatever_the_order_and_knows_nothing_of_rotations() -> None:
    torch.manual_seed(0)
    module = PointRegressor(lr=3e-3)
    found = metrics(module, PointClouds(samples=1000), 10)
    assert {"train/loss", "val/mse", "test/mse"} <= set(found)
    assert found["test/mse"] < 0.7  # the variance of the target is 1
    x = torch.randn(8, 12, 3)
    torch.testing.assert_close(module(x.flip(1)), module(x), atol=1e-5, rtol=0)
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    fresh = PointRegressor()
    with torch.no_grad():
        assert float((fresh(x @ turn.mT) - fresh(x) @ turn.mT).norm() / fresh(x).norm()) > 0.1


def test_classifier_learns() -> None:
    torch.manual_seed(0)
    found = metrics(Classifier(), RotatedDigits(degrees=0), 5)
    assert {"train/loss", "val/accuracy", "test/accuracy"} <= set(found)
    assert found["test/accuracy"] > 0.7


def test_classifier_of_vectors_learns() -> None:
    torch.manual_seed(0)
    found = metrics(VectorClassifier(2, 3, lr=1e-2), Rings(), 25)
    assert {"train/loss", "val/accuracy", "test/accuracy"} <= set(found)
    assert found["test/accuracy"] > 0.9


def test_resnet_takes_small_images() -> None:
    module = ResNet18Classifier(classes=7)
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert isinstance(module.configure_optimizers(), torch.optim.SGD)


def test_what_hosts_share_is_abstract() -> None:
    with pytest.raises(TypeError):
        LabelClassifier(torch.nn.Identity(), 2, 0.1)
    with pytest.raises(TypeError):
        VectorRegressor(torch.nn.Identity(), 0.1)


def test_tensor_regressor_learns_with_its_decays() -> None:
    torch.manual_seed(0)
    module = TensorRegressor("5x0 + 5x1", "1x2", "6x0 + 4x1 + 2x2", layers=2, lr=1e-2)
    found = metrics(module, Inertia(samples=500, batch_size=250), 10)
    assert {"train/loss", "val/mse", "test/mse"} <= set(found)
    assert found["test/mse"] < 15  # the variance of the target is 19
    x, y = torch.randn(4, 20), torch.randn(4, 9)
    linear = [p for m in module.modules() if isinstance(m, torch.nn.Linear) for p in m.parameters()]
    decays = 1e-4 * sum(p.square().sum() for p in linear) + module.net.leakage()
    expected = torch.nn.functional.mse_loss(module(x), y) + decays
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    torch.testing.assert_close(module.training_step((x, y), 0), expected)
