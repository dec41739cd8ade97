"""Strengths that are said beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from lightning_symmetry.balancing.base import Balancer, read_strengths, spread
from lightning_symmetry.exceptions import InvalidSetting


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
        self.values = read_strengths(strengths)

    def strengths(self, terms: int, step: int) -> list[float]:
        """See `Balancer.strengths`."""
        return spread(self.values, terms)


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
        self.values, self.start, self.length = read_strengths(strengths), start, length

    def strengths(self, terms: int, step: int) -> list[float]:
        """See `Balancer.strengths`."""
        rise = float(step >= self.start) if self.length == 0 else min(max((step - self.start) / self.length, 0.0), 1.0)
        return [rise * value for value in spread(self.values, terms)]
