"""The callback finds the layer that breaks a symmetry, writes it down, and leaves nothing behind."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_symmetry.actions import Image
from lightning_symmetry.callbacks import LayerwiseLieDerivative
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.groups import Translation
from lightning_symmetry.metrics import layerwise_lie_derivative
from lightning_symmetry.metrics.layerwise import BETWEEN
from lightning_symmetry.symmetry import Symmetry
from tests.metrics.test_lie_derivative_error import blurred
from tests.seam.boring import Host, deal, make_trainer, same, weights


@pytest.fixture(autouse=True)
def stay_in_a_fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Pictures(Host):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.net(batch)

    test_step = validation_step

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.net(batch).square().mean()


def make_net() -> nn.Sequential:
    """Circular convolutions, one of which leaves pixels out."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"padding": 1, "padding_mode": "circular"}
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, **settings),
        nn.BatchNorm2d(4),
        nn.SiLU(),
        nn.Conv2d(4, 4, 3, stride=4, **settings),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(4, 3),
    )


def symmetry() -> Symmetry:
    return Symmetry(Translation(), Image(gradient="spectral"), "label", name="shifts")


def pictures() -> DataLoader:
    return deal(list(blurred(1.0, 24, 16).float().split(8)))


@pytest.mark.parametrize("stage", ["validate", "test"])
@pytest.mark.parametrize("inference_mode", [True, False])
def test_it_finds_the_layer_that_leaves_pixels_out(stage: str, inference_mode: bool) -> None:
    host, callback = Pictures(make_net()), LayerwiseLieDerivative(symmetry(), samples=12, probes=4)
    trainer = make_trainer(callback, inference_mode=inference_mode)
    getattr(trainer, stage)(host, pictures(), verbose=False)
    found = callback.found["shifts"]
    assert found.samples == 12 and found.layers == ("0", "1", "2", "3", "4", "5", "6", "7", BETWEEN)
    assert found.layers[int(found.magnitude.sum(1).argmax())] == "3"
    shares = {k.removeprefix("symmetry/shifts/share/"): float(v) for k, v in trainer.callback_metrics.items()}
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5) and shares["3"] > 0.9
    with (callback.report_folder / "layers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 9 and rows[6]["layer"] == "3" and rows[6]["generator"] == "translation x"
    assert (callback.report_folder / "layers.png").stat().st_size > 10_000


def test_it_is_the_function_on_the_same_inputs() -> None:
    callback = LayerwiseLieDerivative(symmetry(), samples=8, probes=4)
    make_trainer(callback).validate(Pictures(make_net()), pictures(), verbose=False)
    direct = layerwise_lie_derivative(make_net(), blurred(1.0, 24, 16).float()[:8], symmetry(), probes=4)
    torch.testing.assert_close(callback.found["shifts"].sums, direct.sums, rtol=1e-4, atol=1e-9)


def test_a_fit_with_it_is_bit_for_bit_the_fit_without() -> None:
    results = []
    for callbacks in ([], [LayerwiseLieDerivative(symmetry(), samples=4, probes=1, every_n=2)]):
        torch.manual_seed(3)
        host = Pictures(make_net())
        make_trainer(*callbacks, max_epochs=3).fit(host, pictures(), pictures())
        held = {name: (set(vars(m)), m.training, len(m._forward_hooks)) for name, m in host.named_modules()}
        results.append((weights(host), torch.get_rng_state(), held, [p.grad for p in host.parameters()]))
    (first, state, held, grads), (second, other, after, others) = results
    assert same(first, second) and torch.equal(state, other) and held == after
    assert all((a is None) == (b is None) for a, b in zip(grads, others, strict=True))


def test_layers_are_chosen() -> None:
    callback = LayerwiseLieDerivative(symmetry(), kinds=["Conv2d"], samples=4, probes=1)
    make_trainer(callback).validate(Pictures(make_net()), pictures(), verbose=False)
    assert callback.found["shifts"].layers == ("0", "3", BETWEEN)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="probes=0"):
        LayerwiseLieDerivative(symmetry(), probes=0)
    with pytest.raises(InvalidSetting, match="states none"):
        make_trainer(LayerwiseLieDerivative()).validate(Pictures(make_net()), pictures(), verbose=False)
    with pytest.raises(InvalidSetting, match="no module of Sequential fits"):
        make_trainer(LayerwiseLieDerivative(symmetry(), layers="head")).validate(
            Pictures(make_net()), pictures(), verbose=False
        )
