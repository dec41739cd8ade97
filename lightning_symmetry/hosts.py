"""Plain LightningModules that know nothing of symmetry: the hosts of the recipes, tests and benchmarks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy
from torchvision.models import resnet18

Batch = tuple[Tensor, Tensor]


@final
class Regressor(LightningModule):
    """A multilayer perceptron with SiLU, trained on the mean squared error by Adam.

    Logs ``train/loss``, ``val/mse`` and ``test/mse``.

    Args:
        inputs: Features in.
        outputs: Features out.
        hidden: Width of each hidden layer.
        lr: Learning rate.
    """

    def __init__(self, inputs: int, outputs: int, hidden: Sequence[int] = (128, 128), lr: float = 1e-3) -> None:
        super().__init__()
        widths = [inputs, *hidden]
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.SiLU())]
        self.net = nn.Sequential(*layers, nn.Linear(widths[-1], outputs))
        self.lr = lr

    def forward(self, x: Tensor) -> Tensor:
        """Predict: (B, inputs) -> (B, outputs)."""
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


class ImageClassifier(LightningModule, ABC):
    """What the image classifiers share: cross-entropy and accuracy; each brings its network and its optimizer.

    Logs ``train/loss``, ``val/accuracy`` and ``test/accuracy``.

    Args:
        net: From images (B, C, H, W) to logits (B, classes).
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
        """Predict: (B, C, H, W) -> logits (B, classes)."""
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
    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Choose the optimizer of the network."""


@final
class Classifier(ImageClassifier):
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
class ResNet18Classifier(ImageClassifier):
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
