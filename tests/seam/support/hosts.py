"""Hosts of the support table, each in three versions: plain, with a callback, and with the symmetry written out."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry
from tests.seam.boring import make_loader, make_net, make_noisy_net


class Plain(L.LightningModule):
    """Automatic optimization; what the oracles change is `answer` and `measure`."""

    def __init__(self, net: nn.Module | None = None) -> None:
        super().__init__()
        self.net = make_net() if net is None else net
        self.batches = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def answer(self, x: Tensor) -> Tensor:
        return self.net(x)

    def measure(self, batch: Any) -> Tensor:
        self.batches += 1
        x, y = batch
        loss = (self.answer(x) - y).square().mean()  # older torch has no mse_loss for bfloat16
        self.log("loss", loss.detach())
        self.log("mean", loss.detach(), on_step=False, on_epoch=True)
        return loss

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.measure(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("val/loss", (self.net(x) - y).square().mean())

    def test_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("test/loss", F.mse_loss(self.net(x), y))

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.net(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.net.parameters(), lr=0.01)


class Manual(Plain):
    """Manual optimization."""

    clip: float | None = None

    def __init__(self, net: nn.Module | None = None) -> None:
        super().__init__(net)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer = self.optimizers()
        loss = self.measure(batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.clip is not None:
            self.clip_gradients(optimizer, self.clip, "norm")
        optimizer.step()


class Clipping(Manual):
    clip = 0.01


class TwoOptimizers(Manual):
    """One of each layer; the second steps on every other batch."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        first, second = self.optimizers()
        self.manual_backward(self.measure(batch))
        first.step()
        first.zero_grad()
        if batch_idx % 2:
            second.step()
            second.zero_grad()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.net[0].parameters(), lr=0.1), torch.optim.Adam(self.net[2].parameters(), lr=0.01)


class OwnScaler(Manual):
    """Scales its loss by a scaler of its own, of which Lightning knows nothing; its second batch may overflow."""

    bad = -1

    def __init__(self, net: nn.Module | None = None) -> None:
        super().__init__(net)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer = self.optimizers(use_pl_optimizer=False)
        loss = self.measure(batch)
        optimizer.zero_grad()
        self.manual_backward(self.scaler.scale(loss * torch.inf if batch_idx == self.bad else loss))
        self.scaler.step(optimizer)
        self.scaler.update()


class OverflowingOwnScaler(OwnScaler):
    bad = 1


class Scheduled(Plain):
    """A schedule of the kind that breaks when somebody adds a group of parameters."""

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=20)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Frozen(Plain):
    def configure_optimizers(self) -> None:
        return None


class Newton(Plain):
    """In double precision, since a line search magnifies rounding."""

    def __init__(self, net: nn.Module | None = None) -> None:
        super().__init__(net)
        self.double()

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.net.parameters(), lr=0.5, max_iter=5, line_search_fn="strong_wolfe")


class Noisy(Plain):
    """Batch normalisation and dropout; only for runs that are compared with themselves."""

    def __init__(self, net: nn.Module | None = None) -> None:
        super().__init__(make_noisy_net() if net is None else net)


class CompiledChild(Plain):
    """Compiles its network in its own setup, which runs after the callbacks'."""

    backend = "eager"

    def setup(self, stage: str) -> None:
        self.compiled = torch.compile(self.net, backend=self.backend)

    def answer(self, x: Tensor) -> Tensor:
        return self.compiled(x)


class SeveralLoaders(Plain):
    """Its batches are dicts or lists of batches, one a loader."""

    def measure(self, batch: Any) -> Tensor:
        parts = batch.values() if isinstance(batch, dict) else batch
        self.batches += 1
        loss = sum(F.mse_loss(self.answer(x), y) for x, y in parts)
        self.log("loss", loss.detach(), batch_size=1)
        return loss


class SeveralValidations(Plain):
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        super().validation_step(batch, batch_idx)


class Skipping(Plain):
    """Has no loss for its second batch."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.measure(batch)
        return None if batch_idx == 1 else loss


class Sized(Plain):
    """Its loaders read the batch size from it, as batch-size finders want it."""

    def __init__(self, net: nn.Module | None = None, batch_size: int = 2) -> None:
        super().__init__(net)
        self.batch_size = batch_size

    def train_dataloader(self) -> Any:
        return DataLoader(make_loader().dataset, batch_size=self.batch_size)

    val_dataloader = train_dataloader


class Data(L.LightningDataModule):
    """For command lines."""

    def train_dataloader(self) -> Any:
        return make_loader()


class Stream(IterableDataset):
    """Samples without a length."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        return iter(make_loader(self.batches).dataset)


class Hand:
    """The mathematics of a column, written out."""

    def __init__(self, sentence: str, strength: float, probability: float, lr: float = 5e-3) -> None:
        self.symmetry = Symmetry.parse(sentence)
        self.strength, self.probability, self.lr = strength, probability, lr
        self.step, self.steps = 0, 0
        self.own: torch.optim.Optimizer | None = None
        self.penalty: Any = 0.0

    def call(self, net: Any, x: Tensor) -> Tensor:
        symmetry, rng = self.symmetry, Rng(0, self.step)
        with torch.no_grad():
            symmetry.bind(x)
        g, _ = symmetry.sample(x, 1, rng)
        rows = (rng.uniform(len(x)) < self.probability)[:, None]
        y = net(x)
        with torch.no_grad():
            symmetry.bind(x, y)
        if self.own is None and list(symmetry.parameters()):
            self.own = torch.optim.Adam(symmetry.parameters(), lr=self.lr)
        moved = net(symmetry.move_input(g, x))
        self.penalty = self.penalty + self.strength * (moved - symmetry.move_output(g, y)).square().mean()
        return torch.where(rows, symmetry.move_output(~g, moved), y) if self.probability else y

    def begin(self) -> None:
        """A batch begins, or a closure runs again."""

    def end(self) -> None:
        self.step += 1

    def take_penalty(self) -> Any:
        penalty, self.penalty = self.penalty, 0.0
        return penalty if self.strength else 0.0


def write_out(kind: type[Plain], hand: Hand) -> Plain:
    """Build the host whose author wrote the symmetry into the module, the own optimizer included."""

    class Written(kind):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.hand = [hand]  # in a list, so that it is no part of the module
            self.seen = 0

        def answer(self, x: Tensor) -> Tensor:
            return hand.call(super().answer, x)

        def measure(self, batch: Any) -> Tensor:
            if isinstance(self, Newton) and hand.own is not None:
                hand.own.zero_grad()  # the closure's last evaluation counts
            hand.begin()
            loss = super().measure(batch)
            return loss + hand.take_penalty()

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            hand.end()
            if isinstance(self, OwnScaler):  # raw steps, which Lightning does not count
                self.step_scaled(batch_idx)
            elif self.trainer.global_step > self.seen and hand.own is not None:
                scaler = getattr(self.trainer.precision_plugin, "scaler", None)
                self.step_own(1.0 if scaler is None else scaler.get_scale())
            self.seen = self.trainer.global_step

        def step_scaled(self, batch_idx: int) -> None:
            if hand.own is not None:
                if batch_idx == self.bad:
                    hand.own.zero_grad()
                else:
                    self.step_own(2.0**9 if -1 < self.bad < batch_idx else 2.0**10)

        def step_own(self, scale: float) -> None:
            for parameter in hand.symmetry.parameters():
                parameter.grad = None if parameter.grad is None else parameter.grad / scale
            if any(p.grad is not None for p in hand.symmetry.parameters()):
                hand.own.step()
                hand.steps += 1
            hand.own.zero_grad()

    Written.__name__ = kind.__name__
    return Written()
