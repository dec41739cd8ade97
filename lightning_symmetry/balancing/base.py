"""The interface of a balancer."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.losses import Call

# Batches of a training whose length nobody knows.
ASSUMED = 5000


class Balancer(nn.Module, ABC):
    """Turns the values of T losses into one number, sum_i strength_i value_i.

    It learns from what it is told after every batch: the values themselves, the task's loss, the sizes of gradients.
    All of these are means over ranks, and what it learns lives in buffers, so that a resumed run goes on exactly and
    strengths are equal everywhere.

    Attributes:
        observes: Whether it wants to be told the task's loss of every batch.
        measures: Whether it wants to be told every value, also where the strength is 0; else a loss of strength 0 is
            neither drawn for nor computed.
        ranks: Whether its strengths say which symmetries the data support, rather than making losses comparable.
        differentiates: Whether it wants to be told how large the gradients of the task and of every value are.
        losses: How many losses each symmetry has: theirs follow one another, symmetry by symmetry.
    """

    observes: bool = False
    measures: bool = False
    ranks: bool = False
    differentiates: bool = False
    losses: int = 1

    @property
    def tracks(self) -> bool:
        """Whether it learns from the values."""
        return type(self).track is not Balancer.track

    @abstractmethod
    def strengths(self, terms: int, step: int) -> list[float]:
        """The strengths of ``terms`` losses at a batch."""

    def forward(self, values: Tensor, call: Call) -> Tensor:
        """Weigh (T,) values into a scalar."""
        return values @ values.new_tensor(self.strengths(len(values), call.step))

    def is_reference(self, step: int) -> bool:
        """Tell whether the task is trained on unmoved data in a batch, for comparison."""
        return False

    def plan(self, batches: int | None) -> None:
        """Learn how long training will be, before its first batch.

        Args:
            batches: In all; None where nobody knows.
        """

    def observe(self, loss: float, moved: bool) -> None:
        """Learn the task's own loss of a batch, after it.

        Args:
            loss: As the training step returned it: without the penalty, the scaler or accumulation; the mean over
                ranks. A batch that has none, or one that is not finite, is not told.
            moved: Whether the task was trained on moved data.
        """

    def track(self, values: Tensor, step: int) -> None:
        """Learn the values of a batch, after it and after `observe`.

        Args:
            values: (T,) float64, the means over ranks; NaN for what was not measured in this batch.
            step: The batch.
        """

    def compare(self, task: float, gradients: Tensor, step: int) -> None:
        """Learn the sizes of gradients in a batch, before `track`.

        Args:
            task: Norm of the gradient of the task's loss in the network's last weight.
            gradients: (T,) norms of the gradients of the values there; NaN for what was not measured.
            step: The batch.
        """

    def readings(self, terms: int, step: int) -> dict[str, list[float]]:
        """Say what people want to see, under names such as "strength", "slack" and "relaxed"; T numbers each."""
        return {"strength": self.strengths(terms, step)}

    def _size(self, terms: int, **initial: float) -> None:
        """Give buffers one number a loss, now that it is known how many there are.

        Args:
            terms: How many.
            **initial: Name of a buffer to what it holds at first.

        Raises:
            InvalidSetting: The balancer has learnt another number of strengths.
        """
        for name, value in initial.items():
            kept = getattr(self, name)
            if not len(kept):
                setattr(self, name, kept.new_full((terms,), value))
            elif len(kept) != terms:
                raise InvalidSetting(
                    got=f"{terms} losses for a {type(self).__name__} that has learnt {len(kept)} strengths",
                    expected="as many as before",
                    remedy="Give every callback a balancer of its own, and resume with the symmetries of that run.",
                )

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        # what holds one number a loss is empty before the first batch
        for name, kept in self._buffers.items():
            saved = state_dict.get(prefix + name)
            if isinstance(kept, Tensor) and isinstance(saved, Tensor) and not (kept.numel() and saved.numel()):
                setattr(self, name, kept.new_zeros(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # what is learnt stays in doubles whatever a module around it is cast to; Apple's devices have none
        def place(kept: Tensor) -> Tensor:
            device = fn(kept.new_empty(0, dtype=torch.float32)).device
            return kept if device.type == "mps" else kept.to(device)

        return super()._apply(place, recurse)


def read_length(length: float, batches: int | None) -> int:
    """Read a number of batches: from 1 on it is meant as such, below 1 as a share of the training.

    Args:
        length: Not negative.
        batches: Of the training in all; None where nobody knows, which counts as 5000.

    Example:
        >>> read_length(0.2, 1000), read_length(0.2, None), read_length(50, 1000)
        (200, 1000, 50)
    """
    return int(length) if length >= 1 else round(length * (ASSUMED if batches is None else batches))


def read_strengths(strengths: float | Sequence[float]) -> list[float]:
    """Read one strength or several.

    Raises:
        InvalidSetting: One is negative or not finite, or there is none.
    """
    values = [float(s) for s in strengths] if isinstance(strengths, Sequence) else [float(strengths)]
    if not values or any(not math.isfinite(v) or v < 0 for v in values):
        raise InvalidSetting(f"strengths {values}", "finite numbers >= 0", "Use 0 to switch a loss off.")
    return values


def spread(values: list[float], terms: int) -> list[float]:
    """Repeat a number, or one a loss, for ``terms`` losses.

    Raises:
        InvalidSetting: They do not fit.
    """
    if len(values) == 1:
        return values * terms
    if terms % len(values):
        raise InvalidSetting(
            got=f"{len(values)} strengths for {terms} losses",
            expected="one number, or one a loss",
            remedy="Give as many strengths as there are losses.",
        )
    return values * (terms // len(values))
