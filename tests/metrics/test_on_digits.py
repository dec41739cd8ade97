"""Real digits: the metrics tell a network that was trained on turned ones from one that was not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_symmetry.actions import Image
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SO
from lightning_symmetry.metrics import EquivarianceError, LieDerivativeError, OrbitConsistency, SymmetryMetric

load_digits = pytest.importorskip("sklearn.datasets").load_digits
SENTENCE = "SO(2) on image -> label"


def read_digits() -> tuple[Tensor, Tensor]:
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    larger = F.interpolate(images, 16, mode="bicubic", align_corners=False)
    return F.pad(larger, (2, 2, 2, 2)), torch.tensor(digits.target)


def train(x: Tensor, y: Tensor, turned: bool) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(400, 256), nn.GELU(), nn.Linear(256, 10))
    optimizer, turns, image = torch.optim.Adam(net.parameters(), 1e-3), SO(2), Image()
    for step in range(400):
        rng = Rng(0, step)
        rows = rng.integers(len(x), 128)
        batch = x[rows]
        if turned:
            batch = image.act(turns.exp(2 * torch.pi * rng.uniform(128, 1)), batch)
        optimizer.zero_grad()
        F.cross_entropy(net(batch), y[rows]).backward()
        optimizer.step()
    return net.eval()


@pytest.mark.slow
def test_training_on_turned_digits_shows() -> None:
    x, y = read_digits()
    found: dict[str, list[dict[str, Tensor]]] = {}
    for turned in (False, True):
        net = train(x[:1297], y[:1297], turned)
        metrics: dict[str, SymmetryMetric] = {
            "lie": LieDerivativeError(SENTENCE, derivative="spectral"),
            "finite": EquivarianceError(SENTENCE),
            "orbit": OrbitConsistency(SENTENCE),
        }
        for name, metric in metrics.items():
            metric.update(net, x[1297:])
            found.setdefault(name, []).append(metric.compute())
    for name, key in (("lie", "overall"), ("finite", "error"), ("orbit", "variance")):
        plain, turned_too = found[name]
        assert float(plain[key]) > 3 * float(turned_too[key]), name
        assert all(float(one[f"{key}_se"]) < 0.05 * float(one[key]) for one in found[name]), name
    assert float(found["orbit"][1]["consistency"]) > 0.8 > 0.7 > float(found["orbit"][0]["consistency"])
