"""Plain LightningModules, the hosts of the recipes, tests and benchmarks: only the steerable ones know a symmetry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast, final

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy
from torchvision.models import resnet18

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.nn import GatedTensorNetwork, SteerableCNN, SteerableMLP

Batch = tuple[Tensor, Tensor]


class VectorRegressor(LightningModule, ABC):
    """What the regressors share: the mean squared error and Adam; each brings its network.

    Logs ``train/loss``, ``val/mse`` and ``test/mse``.

    Args:
        net: From inputs of B rows to outputs (B, outputs).
        lr: Learning rate.
    """

    @abstractmethod
    def __init__(self, net: nn.Module, lr: float) -> None:
        super().__init__()
        self.net, self.lr = net, lr

    def forward(self, x: Tensor) -> Tensor:
        """Predict: (B, ...) -> (B, outputs)."""
        return self.net(x)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Give the loss of a batch."""
        x, y = batch
        loss = F.mse_loss(self.net(x), y)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the error."""
        x, y = batch
        self.log("val/mse", F.mse_loss(self.net(x), y), prog_bar=True)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the error."""
        x, y = batch
        self.log("test/mse", F.mse_loss(self.net(x), y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over everything."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)


@final
class Regressor(VectorRegressor):
    """A multilayer perceptron with SiLU.

    Args:
        inputs: Features in.
        outputs: Features out.
        hidden: Width of each hidden layer.
        lr: Learning rate.
        residual: Predict the change of the input, ``x + net(x)``; needs as many outputs as inputs.

    Raises:
        InvalidSetting: A residual network would change the number of features.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (128, 128),
        lr: float = 1e-3,
        residual: bool = False,
    ) -> None:
        if residual and inputs != outputs:
            raise InvalidSetting(
                got=f"a residual network from {inputs} to {outputs} features",
                expected="as many outputs as inputs",
                remedy="Set residual to false, or the two numbers to the same.",
            )
        widths = [inputs, *hidden]
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.SiLU())]
        net = nn.Sequential(*layers, nn.Linear(widths[-1], outputs))
        super().__init__(Residual(net) if residual else net, lr)


@final
class MotionRegressor(VectorRegressor):
    """A perceptron with SiLU that foretells positions of space, and knows nothing of it.

    Logs ``train/loss``, ``val/mse`` and ``test/mse``, and ``val/ade`` and ``test/ade``, the average displacement error:
    the mean distance between a position and what was foretold.

    Args:
        inputs: Features in.
        outputs: Features out, the positions one after the other.
        hidden: Width of each hidden layer.
        lr: Learning rate, which falls to zero along half a cosine.
        unit: Size of the numbers, in and out: the network sees and answers numbers of about 1.
    """

    def __init__(
        self, inputs: int, outputs: int, hidden: Sequence[int] = (256, 256), lr: float = 1e-3, unit: float = 1.0
    ) -> None:
        widths = [inputs, *hidden]
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.SiLU())]
        super().__init__(InUnits(nn.Sequential(*layers, nn.Linear(widths[-1], outputs)), unit), lr)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the errors."""
        super().validation_step(batch, batch_idx)
        self.log("val/ade", self._displace(batch))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the errors."""
        super().test_step(batch, batch_idx)
        self.log("test/ade", self._displace(batch))

    def _displace(self, batch: Batch) -> Tensor:
        return (self.net(batch[0]) - batch[1]).unflatten(1, (-1, 3)).norm(dim=-1).mean()

    def configure_optimizers(self) -> Any:
        """Adam, its rate along half a cosine."""
        return _anneal(self, torch.optim.Adam(self.parameters(), lr=self.lr))


@final
class InUnits(nn.Module):
    """A network whose inputs and outputs are counted in a unit of their own.

    Args:
        net: From (B, n) to (B, m).
        unit: Its size.
    """

    def __init__(self, net: nn.Module, unit: float) -> None:
        super().__init__()
        self.net, self.unit = net, unit

    def forward(self, x: Tensor) -> Tensor:
        """Predict: (B, n) -> (B, m)."""
        return self.unit * self.net(x / self.unit)


@final
class EvolutionResidual(LightningModule):
    """What is left of an evolution equation at points of its solutions: ``u_t - net(u, u_x, ...)``.

    Trained to vanish, so that the network learns the right-hand side. What it answers is the residual, whose
    invariances are the symmetries of the learnt equation. Logs ``train/loss``, ``val/residual`` and ``test/residual``,
    relative to the mean square of the rate.

    Args:
        rate: Column of the rate u_t.
        reads: Columns that the right-hand side reads.
        hidden: Width of each hidden layer.
        lr: Learning rate, which falls to zero along half a cosine.
    """

    def __init__(self, rate: int, reads: Sequence[int], hidden: Sequence[int] = (64, 64), lr: float = 3e-3) -> None:
        super().__init__()
        widths = [len(reads), *hidden]
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.SiLU())]
        self.net = EquationOf(nn.Sequential(*layers, nn.Linear(widths[-1], 1)), rate, list(reads))
        self.lr = lr

    def forward(self, x: Tensor) -> Tensor:
        """Give the residual: (B, columns) -> (B, 1)."""
        return self.net(x)

    def _measure(self, batch: Batch) -> Tensor:
        x = batch[0]
        return self.net(x).square().mean() / x[:, self.net.rate].square().mean().clamp_min(1e-12)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Give the loss of a batch."""
        loss = self._measure(batch)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the residual."""
        self.log("val/residual", self._measure(batch), prog_bar=True)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the residual."""
        self.log("test/residual", self._measure(batch))

    def configure_optimizers(self) -> Any:
        """Adam, its rate along half a cosine."""
        return _anneal(self, torch.optim.Adam(self.parameters(), lr=self.lr))


@final
class EquationOf(nn.Module):
    """The rate less what a network makes of other columns.

    Args:
        net: From (B, n) to (B, 1).
        rate: Column of the rate.
        reads: Columns that the network reads.
    """

    def __init__(self, net: nn.Module, rate: int, reads: list[int]) -> None:
        super().__init__()
        self.net, self.rate, self.reads = net, rate, reads

    def forward(self, x: Tensor) -> Tensor:
        """Give the residual: (B, columns) -> (B, 1)."""
        return x[:, self.rate : self.rate + 1] - self.net(x[:, self.reads])


@final
class Residual(nn.Module):
    """Adds its input to what a network makes of it.

    Args:
        net: From (B, n) to (B, n).
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Predict: (B, n) -> (B, n)."""
        return x + self.net(x)


@final
class PointRegressor(VectorRegressor):
    """A set of points through one perceptron each, their mean through another: their order does not matter.

    Turning the points changes the answer in any way: the network knows nothing of rotations.

    Args:
        dim: Length of a point.
        outputs: Features out.
        width: Of every hidden layer.
        lr: Learning rate.

    References:
        Deep Sets, arXiv 1703.06114.
    """

    def __init__(self, dim: int = 3, outputs: int = 3, width: int = 64, lr: float = 1e-3) -> None:
        super().__init__(DeepSet(dim, outputs, width), lr)


@final
class SteerableRegressor(VectorRegressor):
    """A perceptron of escnn's layers with a symmetry of vectors or points built in, see `SteerableMLP`.

    Args:
        symmetry: A sentence such as "SO(3) on vector(3) -> vector(3)", or the folder of what was discovered.
        inputs: Vectors of a row; 1 for points.
        outputs: Numbers or vectors of the answer.
        width: Fields of every hidden layer.
        frequency: Highest frequency of the features, for continuous groups.
        lr: Learning rate.
    """

    def __init__(
        self, symmetry: str, inputs: int = 1, outputs: int = 1, width: int = 8, frequency: int = 2, lr: float = 1e-2
    ) -> None:
        super().__init__(SteerableMLP(symmetry, inputs, outputs, width, frequency=frequency), lr)


@final
class TensorRegressor(VectorRegressor):
    """A `GatedTensorNetwork`, with the published decays: linear layers by L2, and what no rotation keeps by its square.

    The training loss is the mean squared error + weight_decay / 2 ||linear||^2 + ||leak||^2; the learning rate falls to
    zero along half a cosine.

    Args:
        types_in: Of the input, such as "5x0 + 5x1".
        types_out: Of the answer, such as "1x2".
        hidden: Types between the blocks, or their width.
        layers: Number of linear layers.
        dim: Dimension of the space.
        homogeneous: Products that keep scalings, too, see `GatedTensorNetwork`.
        lr: Learning rate.
        weight_decay: Of the linear layers.
    """

    def __init__(
        self,
        types_in: str,
        types_out: str,
        hidden: str | int = 128,
        layers: int = 4,
        dim: int = 3,
        homogeneous: bool = False,
        lr: float = 1e-3,
        weight_decay: float = 2e-4,
    ) -> None:
        super().__init__(GatedTensorNetwork(types_in, types_out, hidden, layers, dim, homogeneous), lr)
        self.weight_decay = weight_decay

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Give the loss of a batch, and what keeps the weights small."""
        net = cast(GatedTensorNetwork, self.net)
        linear = [p for m in net.modules() if isinstance(m, nn.Linear) for p in m.parameters()]
        size = torch.cat([p.flatten() for p in linear]).square().sum()
        return super().training_step(batch, batch_idx) + self.weight_decay / 2 * size + net.leakage()

    def configure_optimizers(self) -> Any:
        """Adam, its rate along half a cosine."""
        return _anneal(self, torch.optim.Adam(self.parameters(), lr=self.lr))


@final
class DeepSet(nn.Module):
    """Features of every point, their mean, and what follows from it.

    Args:
        dim: Length of a point.
        outputs: Features out.
        width: Of every hidden layer.
    """

    def __init__(self, dim: int, outputs: int, width: int) -> None:
        super().__init__()
        self.each = nn.Sequential(
            nn.Linear(dim, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.all = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Predict: (B, N, dim) -> (B, outputs)."""
        return self.all(self.each(x).mean(1))


class LabelClassifier(LightningModule, ABC):
    """What the classifiers share: cross-entropy and accuracy; each brings its network and its optimizer.

    Logs ``train/loss``, ``val/accuracy`` and ``test/accuracy``.

    Args:
        net: From inputs of B rows, such as images (B, C, H, W), to logits (B, classes).
        classes: Number of classes.
        lr: Learning rate.
    """

    def __init__(self, net: nn.Module, classes: int, lr: float) -> None:
        super().__init__()
        self.net = net
        self.lr = lr
        self.val_accuracy = MulticlassAccuracy(classes, average="micro")
        self.test_accuracy = MulticlassAccuracy(classes, average="micro")

    def forward(self, x: Tensor) -> Tensor:
        """Predict: (B, ...) -> logits (B, classes)."""
        return self.net(x)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Give the loss of a batch."""
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the accuracy."""
        x, y = batch
        self.val_accuracy(self.net(x), y)
        self.log("val/accuracy", self.val_accuracy, prog_bar=True)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the accuracy."""
        x, y = batch
        self.test_accuracy(self.net(x), y)
        self.log("test/accuracy", self.test_accuracy)

    @abstractmethod
    def configure_optimizers(self) -> Any:
        """Choose the optimizer of the network."""


@final
class VectorClassifier(LabelClassifier):
    """A perceptron with SiLU that tells classes of vectors and knows nothing of the space that they lie in.

    Args:
        inputs: Features in.
        classes: Number of classes.
        hidden: Width of each hidden layer.
        lr: Learning rate.
    """

    def __init__(self, inputs: int, classes: int, hidden: Sequence[int] = (64, 64), lr: float = 1e-3) -> None:
        widths = [inputs, *hidden]
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.SiLU())]
        super().__init__(nn.Sequential(*layers, nn.Linear(widths[-1], classes)), classes, lr)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over everything."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)


@final
class PixelClassifier(LabelClassifier):
    """A perceptron on all pixels, which knows nothing of their places; weight decay keeps it smooth between them.

    Args:
        size: Pixels a side.
        classes: Number of classes.
        hidden: Width of each hidden layer.
        lr: Learning rate, which falls to zero along half a cosine.
        weight_decay: Of AdamW.
    """

    def __init__(
        self,
        size: int = 28,
        classes: int = 10,
        hidden: Sequence[int] = (128, 128),
        lr: float = 3e-3,
        weight_decay: float = 8.0,
    ) -> None:
        widths = [size * size, *hidden]
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
        super().__init__(nn.Sequential(nn.Flatten(), *layers, nn.Linear(widths[-1], classes)), classes, lr)
        self.weight_decay = weight_decay

    def configure_optimizers(self) -> Any:
        """AdamW, its rate along half a cosine."""
        return _anneal(self, torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay))


@final
class Classifier(LabelClassifier):
    """A small convolutional network for small images.

    Args:
        classes: Number of classes.
        channels: Of the image.
        width: Of the first layer; it doubles with every halving of the image.
        lr: Learning rate.
    """

    def __init__(self, classes: int = 10, channels: int = 1, width: int = 16, lr: float = 2e-3) -> None:
        net = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * width, classes),
        )
        super().__init__(net, classes, lr)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over everything."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)


@final
class SteerableClassifier(LabelClassifier):
    """A convolutional network of escnn's layers with a symmetry of images built in, see `SteerableCNN`.

    Args:
        symmetry: A sentence such as "SO(2) on image -> label", or the folder of what was discovered.
        classes: Number of classes.
        channels: Of the image.
        widths: Fields of every layer.
        frequency: Highest frequency of the features, for continuous groups.
        lr: Learning rate.
    """

    def __init__(
        self,
        symmetry: str,
        classes: int = 10,
        channels: int = 1,
        widths: Sequence[int] = (4, 6, 6),
        frequency: int = 4,
        lr: float = 1e-2,
    ) -> None:
        super().__init__(SteerableCNN(symmetry, classes, channels, widths, frequency=frequency), classes, lr)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over everything."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)


@final
class ResNet18Classifier(LabelClassifier):
    """torchvision's ResNet-18 for 3 x 32 x 32: a 3 x 3 stem without stride, and no first pooling.

    Args:
        classes: Number of classes.
        lr: Learning rate.
    """

    def __init__(self, classes: int = 10, lr: float = 0.05) -> None:
        net = resnet18(weights=None, num_classes=classes)
        net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
        super().__init__(net, classes, lr)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD with momentum over everything."""
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9, weight_decay=5e-4)


def _anneal(module: LightningModule, optimizer: torch.optim.Optimizer) -> Any:
    """Let the rate fall to zero along half a cosine."""
    total = int(module.trainer.estimated_stepping_batches)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
