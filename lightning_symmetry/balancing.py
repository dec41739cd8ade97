"""How strongly each loss counts."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.losses import Call


class Balancer(nn.Module, ABC):
    """Turns the values of T losses into one number, sum_i strength_i value_i.

    State that training changes lives in buffers, so that a resumed run goes on exactly.
    """

    @abstractmethod
    def forward(self, values: Tensor, call: Call) -> Tensor:
        """Weigh (T,) values into a scalar."""

    @abstractmethod
    def strengths(self, terms: int, step: int) -> list[float]:
        """The strengths of ``terms`` losses at a batch; a loss of strength 0 is neither drawn for nor computed."""


@final
class Fixed(Balancer):
    """Constant strengths.

    Args:
        strengths: One number for all losses, or one a loss (repeated for every symmetry).

    Raises:
        InvalidSetting: A strength is negative or not finite.
    """

    def __init__(self, strengths: float | Sequence[float] = 1.0) -> None:
        super().__init__()
        self.values = _read_strengths(strengths)

    def strengths(self, terms: int, step: int) -> list[float]:
        """See `Balancer.strengths`."""
        return _spread(self.values, terms)

    def forward(self, values: Tensor, call: Call) -> Tensor:
        """See `Balancer.forward`."""
        return values @ values.new_tensor(self.strengths(len(values), call.step))


@final
class Ramp(Balancer):
    """Strengths that are 0 until a batch and then rise linearly to their full value: a warm-up on the task alone.

    Args:
        strengths: Full strengths, as for `Fixed`.
        start: Batches during which everything is off.
        length: Batches from there to full strength; 0 switches at once.

    Raises:
        InvalidSetting: A strength is negative or not finite, or a number of batches is negative.
    """

    def __init__(self, strengths: float | Sequence[float] = 1.0, start: int = 0, length: int = 0) -> None:
        super().__init__()
        if start < 0 or length < 0:
            raise InvalidSetting(f"start={start}, length={length}", "numbers of batches >= 0", "Use 0 for at once.")
        self.values, self.start, self.length = _read_strengths(strengths), start, length

    def strengths(self, terms: int, step: int) -> list[float]:
        """See `Balancer.strengths`."""
        rise = float(step >= self.start) if self.length == 0 else min(max((step - self.start) / self.length, 0.0), 1.0)
        return [rise * value for value in _spread(self.values, terms)]

    def forward(self, values: Tensor, call: Call) -> Tensor:
        """See `Balancer.forward`."""
        return values @ values.new_tensor(self.strengths(len(values), call.step))


def _read_strengths(strengths: float | Sequence[float]) -> list[float]:
    values = [float(s) for s in strengths] if isinstance(strengths, Sequence) else [float(strengths)]
    if not values or any(not math.isfinite(v) or v < 0 for v in values):
        raise InvalidSetting(f"strengths {values}", "finite numbers >= 0", "Use 0 to switch a loss off.")
    return values


def _spread(values: list[float], terms: int) -> list[float]:
    if len(values) == 1:
        return values * terms
    if terms % len(values):
        raise InvalidSetting(
            got=f"{len(values)} strengths for {terms} losses",
            expected="one number, or one a loss",
            remedy="Give as many strengths as there are losses.",
        )
    return values * (terms // len(values))
