"""Tiny hosts, data and oracles for the laws of the seam."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_symmetry.callbacks import LearnableAugmentation
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.losses import Call, Loss
from lightning_symmetry.symmetry import Symmetry

SENTENCE = "vector -> vector"
ROWS = 8


def make_net(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))


def make_noisy_net(seed: int = 0) -> nn.Sequential:
    """With everything that a second forward could disturb: batch-norm statistics and dropout masks."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(2, 8),
            nn.BatchNorm1d(8),
            nn.Tanh(),
            nn.Dropout(0.3),
            nn.Linear(8, 8),
            nn.Dropout(0.3),
            nn.Linear(8, 2),
        )


class Host(L.LightningModule):
    """The plainest of modules; subclasses say how the network is called."""

    def __init__(self, net: nn.Module | None = None, lr: float = 0.01) -> None:
        super().__init__()
        self.net = make_net() if net is None else net
        self.lr = lr
        self.losses: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def note(self, loss: Tensor) -> Tensor:
        self.losses.append(float(loss.detach()))
        return loss

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        return self.note(F.mse_loss(self.net(x), y))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("val/loss", F.mse_loss(self.net(x), y))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class ManualHost(Host):
    """Manual optimization through Lightning's optimizer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        optimizer = self.optimizers()
        loss = self.note(F.mse_loss(self.net(x), y))
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()


def make_data(batches: int = 4, rows: int = ROWS, seed: int = 1) -> list[tuple[Tensor, Tensor]]:
    """Batches of a map that rotations leave alone."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batches * rows, 2, generator=generator)
    y = x * x.norm(dim=1, keepdim=True)
    return list(zip(x.split(rows), y.split(rows), strict=True))


def make_loader(batches: int = 4, rows: int = ROWS, seed: int = 1) -> DataLoader:
    x, y = (torch.cat(parts) for parts in zip(*make_data(batches, rows, seed), strict=True))
    return DataLoader(TensorDataset(x, y), batch_size=rows)


def deal(batches: list[Any]) -> DataLoader:
    """Hand out batches as they are."""
    return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)


def make_trainer(*callbacks: Any, **settings: Any) -> L.Trainer:
    defaults = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(callbacks=list(callbacks), **{**defaults, **settings})


def fit(
    host: L.LightningModule, *callbacks: Any, data: Any = None, val: Any = None, ckpt: Any = None, **settings: Any
) -> L.Trainer:
    trainer = make_trainer(*callbacks, **settings)
    trainer.fit(host, make_loader() if data is None else data, val, ckpt_path=ckpt)
    return trainer


def make_callback(sentence: Any = SENTENCE, **settings: Any) -> LearnableAugmentation:
    """The default losses at once: these runs are shorter than the default's warm-up."""
    if "losses" not in settings:
        settings.setdefault("balance", [1.0, 0.05, 0.1])
    return LearnableAugmentation(sentence, **settings)


def own_weights(callback: LearnableAugmentation) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in callback.symmetries.state_dict().items()}


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in module.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def close(a: dict[str, Tensor], b: dict[str, Tensor], tolerance: float = 1e-6) -> bool:
    return a.keys() == b.keys() and all(torch.allclose(a[k], b[k], rtol=tolerance, atol=tolerance) for k in a)


class Gap(Loss):
    """The plain mean squared equivariance error, which an oracle writes in one line."""

    def forward(self, call: Call) -> Tensor:
        (view,), (answer,) = call.views, call.answers
        return (answer - call.symmetry.move_output(view.g, call.y)).square().mean(1)


class Pull(Loss):
    """Half the squared norm of the generators: its gradient is the generators themselves."""

    needs_output = False

    def forward(self, call: Call) -> Tensor:
        return sum(p.square().sum() for p in call.symmetry.parameters()) / 2


class ByHand:
    """A plain loop with the penalty written out: what the callback has to equal.

    Args:
        net: The network.
        strength: Of the gap.
        lr: Of the generators.
        pull: Strength of the generators' norm.
    """

    def __init__(
        self, net: nn.Module, strength: float = 1.0, lr: float = 5e-3, pull: float = 0.0, sentence: str = SENTENCE
    ) -> None:
        self.net, self.strength, self.pull = net, strength, pull
        self.symmetry = Symmetry.parse(sentence)
        with torch.no_grad():
            self.symmetry.bind(torch.zeros(2, 2), torch.zeros(2, 2))
        parameters = list(self.symmetry.parameters())
        self.own = torch.optim.Adam(parameters or [nn.Parameter(torch.zeros(1))], lr=lr)
        self.step = 0

    def penalty(self, x: Tensor, y: Tensor, rng: Rng | None = None) -> Tensor:
        g, _ = self.symmetry.sample(x, 1, Rng(0, self.step) if rng is None else rng)
        gap = self.net(self.symmetry.move_input(g, x)) - self.symmetry.move_output(g, y)
        pull = sum(p.square().sum() for p in self.symmetry.parameters()) / 2
        return self.strength * gap.square().mean() + self.pull * pull

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, target = batch
        y = self.net(x)
        return F.mse_loss(y, target) + self.penalty(x, y)

    def own_weights(self) -> dict[str, Tensor]:
        return {f"0.{k}": v.detach().clone() for k, v in self.symmetry.state_dict().items()}


def gap_callback(strength: float = 1.0, **settings: Any) -> LearnableAugmentation:
    return make_callback(losses=[Gap()], balance=strength, **settings)
