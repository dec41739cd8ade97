"""A project of somebody's own, in the working directory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

MODULE = """
import lightning as L
import torch
from torch import nn


class Mine(L.LightningModule):
    def __init__(self, width: int = 4):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 2))

    def _loss(self, batch):
        x, y = batch
        return (self.net(x) - y).square().mean()

    def training_step(self, batch, batch_idx):
        return self._loss(batch)

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self._loss(batch))

    def test_step(self, batch, batch_idx):
        self.log("test/loss", self._loss(batch))

    def predict_step(self, batch, batch_idx):
        return self.net(batch[0])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Data(L.LightningDataModule):
    def __init__(self, rows: int = 32):
        super().__init__()
        self.rows = rows

    def _load(self):
        x = torch.randn(self.rows, 4, generator=torch.Generator().manual_seed(0))
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x[:, :2]), batch_size=8)

    train_dataloader = val_dataloader = test_dataloader = predict_dataloader = _load
"""

# A network that knows of no symmetry, one that has a known one, and data for both.
PICTURES = """
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Cnn(L.LightningModule):
    def __init__(self, channels: int = 2):
        super().__init__()
        self.save_hyperparameters()
        self.features = nn.Sequential(nn.Conv2d(1, channels, 3), nn.BatchNorm2d(channels), nn.ReLU())
        self.head = nn.Linear(channels, 3)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Pictures(L.LightningDataModule):
    def _load(self):
        make = torch.Generator().manual_seed(0)
        return DataLoader(TensorDataset(torch.rand(64, 1, 8, 8, generator=make), torch.arange(64) % 3), batch_size=16)

    train_dataloader = val_dataloader = _load


class Radial(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * x.square().sum(1, keepdim=True).sin()


class Round(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Radial()

    def training_step(self, batch, batch_idx):
        return self.net(batch[0]).square().mean()

    def test_step(self, batch, batch_idx):
        self.net(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)

    def test_dataloader(self):
        make = torch.Generator().manual_seed(0)
        return DataLoader(TensorDataset(torch.randn(256, 3, generator=make)), batch_size=64)

    train_dataloader = test_dataloader


class Bare(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Radial()

    def training_step(self, batch, batch_idx):
        return self.net(batch[0]).square().mean()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with mine.py and pictures.py, which nothing but the working directory makes importable."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "pictures.py").write_text(PICTURES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("mine", "pictures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield tmp_path
    for name in ("mine", "pictures"):
        sys.modules.pop(name, None)
