"""What data with a known truth share: made from a seed, held in memory, dealt in an order that resumes exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, final

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_symmetry.actions import Jet, Representation
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.metrics import ApproximateSymmetryLevel
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


class KnownFunction(KnownSymmetry, ABC):
    """Inputs drawn from a law, and an exact function of them, computed in float64.

    Args:
        samples: Of the training part; validation and test hold 2000, or ``held_out``.
        batch_size: Samples a step.
        seed: Of everything drawn.
        double: Deal float64, for exact checks.

    Raises:
        InvalidSetting: There is nothing to train on.
    """

    held_out: ClassVar[int] = 2000

    def __init__(self, samples: int = 4000, batch_size: int = 128, seed: int = 0, double: bool = False) -> None:
        super().__init__(batch_size, seed)
        if samples < 1:
            raise InvalidSetting(got=f"samples={samples}", expected="at least 1", remedy="The default is 4000.")
        self.samples, self.double_precision = samples, double

    @abstractmethod
    def target(self, x: Tensor) -> Tensor:
        """Evaluate the function, in the type of the inputs: (B, ...) -> (B, m)."""

    @abstractmethod
    def draw(self, rng: Rng, rows: int) -> Tensor:
        """Draw inputs, (rows, ...), float64."""

    def draw_part(self, split: str, rng: Rng, rows: int) -> Tensor:
        """Draw the inputs of a part, (rows, ...), float64; all parts alike unless a final says otherwise."""
        return self.draw(rng, rows)

    @final
    def make(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:
        """Draw the three parts."""
        dtype, parts = torch.float64 if self.double_precision else torch.float32, {}
        for counter, split in enumerate(SPLITS):
            x = self.draw_part(split, Rng(self.seed, counter), self.samples if split == "train" else self.held_out)
            parts[split] = Pairs(x.to(dtype), self.target(x).to(dtype))
        return dict(parts)

    @final
    def level(self, symmetry: Any, rows: int = 2000) -> float:
        """Measure how far the exact function is from a symmetry, to compare what a trained network says with.

        Args:
            symmetry: Group, law and actions; a sentence or a mapping will do.
            rows: Fresh inputs to measure on.

        Returns:
            ``E |f(gx) - g f(x)| / (|f(gx)| + |g f(x)|)``, the "error" of `ApproximateSymmetryLevel`: 0 if it is exact.
        """
        metric = ApproximateSymmetryLevel(symmetry, seed=self.seed)
        metric.update(self.target, self.draw(Rng(self.seed, len(SPLITS)), rows))
        return float(metric.compute()["error"])

    @staticmethod
    def answering(symmetry: Symmetry, generators: Tensor) -> Symmetry:
        """Fix how a learned output answers each generator of the group.

        Args:
            symmetry: Whose output is a single learned action.
            generators: (K, D, D).
        """
        for _, action in symmetry.output.moving:
            if isinstance(action, Representation):
                action.restore(generators)
        return symmetry.requires_grad_(False)


class KnownEquation(KnownFunction, ABC):
    """Points of solutions of an evolution equation u_t = K(u, u_x, ...), and the rate K.

    The inputs are the columns of ``jet``, u_t among them: a network that learns the rate reads ``reads`` alone. The
    residual vanishes at solutions, and exactly the symmetries of the equation keep it so.
    """

    reads: ClassVar[str]
    """The columns that the rate depends on, and the derivatives of lower order."""

    @property
    @abstractmethod
    def jet(self) -> Jet:
        """How a group of (t, x, u) moves the columns."""

    @final
    def inputs(self, x: Tensor) -> Tensor:
        """Choose what a network for the rate may read: (B, J) -> (B, n)."""
        return self.jet.pick(x, self.reads)

    @final
    def residual(self, x: Tensor, rate: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Say by how much points miss the equation: u_t minus the rate.

        Args:
            x: (B, J).
            rate: From the columns ``inputs(x)`` to (B, 1), such as a network; None for the exact rate.

        Returns:
            (B, 1).
        """
        return self.jet.pick(x, "u_t") - (self.target(x) if rate is None else rate(self.inputs(x)))


def _pass_on(batch: Any) -> Any:
    return batch
