"""What data with a known truth share: made from a seed, held in memory, dealt in an order that resumes exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry

SPLITS = ("train", "val", "test")


@final
class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """Inputs and targets in memory; a batch is one indexing, never a loop over samples.

    Args:
        x: (N, ...) inputs.
        y: (N, ...) targets.
    """

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Give a whole batch, which is what a DataLoader asks for first."""
        rows = torch.as_tensor(indices)
        return self.x[rows], self.y[rows]


@final
class Fresh(Dataset[tuple[Tensor, Tensor]]):
    """Samples that are made anew when they are dealt.

    Args:
        x: (N, ...) what the inputs are made from.
        y: (N,) targets.
        make: Makes the inputs of some rows, ``make(x, rows)``, by the draws of the epoch.
    """

    def __init__(self, x: Tensor, y: Tensor, make: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.x, self.y, self.make = x, y, make

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = self.__getitems__([index])
        return x[0], y[0]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Give a whole batch, which is what a DataLoader asks for first."""
        rows = torch.as_tensor(indices)
        return self.make(self.x, rows), self.y[rows]


@final
class Shuffle(Sampler[int]):
    """An order that depends on (seed, epoch) only: it resumes exactly, and the global generator is left alone.

    Args:
        length: Number of samples.
        seed: Of the data.
    """

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's order; Lightning calls this before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        # negative counters: the others made the data
        keys = Rng(self.seed, counter=-1 - self.epoch).uniform(self.length, dtype=torch.float64)
        return iter(keys.argsort().tolist())


class KnownSymmetry(LightningDataModule, ABC):
    """Data that know their symmetry.

    Args:
        batch_size: Samples a step.
        seed: Of everything drawn.

    Raises:
        InvalidSetting: The batch would be empty.
    """

    def __init__(self, batch_size: int, seed: int) -> None:
        super().__init__()
        if batch_size < 1:
            raise InvalidSetting(got=f"batch_size={batch_size}", expected="at least 1", remedy="Try 128.")
        self.batch_size, self.seed = batch_size, seed
        self.parts: dict[str, Dataset[tuple[Tensor, Tensor]]] = {}

    @abstractmethod
    def truth(self) -> Symmetry | None:
        """Give the symmetry that the data have, or None where they have none."""

    @abstractmethod
    def make(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:
        """Make the parts "train", "val" and "test", from the seed alone."""

    @final
    def setup(self, stage: str) -> None:
        """Make the data once; every process makes the same."""
        if not self.parts:
            self.parts = self.make()

    @final
    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Deal the training part, shuffled."""
        return self._deal("train", Shuffle(len(self.parts["train"]), self.seed))  # type: ignore[arg-type]

    @final
    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Deal the validation part, in order."""
        return self._deal("val")

    @final
    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Deal the test part, in order."""
        return self._deal("test")

    def _deal(self, split: str, sampler: Sampler[int] | None = None) -> DataLoader[tuple[Tensor, Tensor]]:
        return DataLoader(
            self.parts[split],
            batch_size=self.batch_size,
            sampler=sampler,
            collate_fn=_pass_on,
            # without one of its own, a loader draws a worker seed from the global generator
            generator=torch.Generator().manual_seed(self.seed),
        )


def _pass_on(batch: Any) -> Any:
    return batch
