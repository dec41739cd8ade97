"""The interface of a balancer."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.losses import Call


class Balancer(nn.Module, ABC):
    """Turns the values of T losses into one number, sum_i strength_i value_i.

    It learns from what it is told after every batch: the values themselves, the task's loss, the sizes of gradients.
    All of these are means over ranks, and what it learns lives in buffers, so that a resumed run goes on exactly and
    strengths are equal everywhere.

    Attributes:
        observes: Whether it wants to be told the task's loss of every batch.
        measures: Whether it wants to be told every value, also where the strength is 0; else a loss of strength 0 is
            neither drawn for nor computed.
        differentiates: Whether it wants to be told how large the gradients of the task and of every value are.
    """

    observes: bool = False
    measures: bool = False
    differentiates: bool = False

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
