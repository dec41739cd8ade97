"""Strengths that learn how uncertain each loss is."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.balancing.base import Balancer
from lightning_symmetry.exceptions import InvalidSetting


@final
class Uncertainty(Balancer):
    """Homoscedastic uncertainty: every loss is divided by its own running size.

    A log-variance s for the task and for every error v follows gradient descent on exp(-s) v + s,

        s -= rate * clip( 1 - exp(-s) v, -1, 1 ),

    which settles at exp(s) = v. The whole objective is divided by the task's weight, which so stays 1:

        lambda_k = exp(s_task - s_k),

    about |L| / v_k. Descent begins at the first value instead of at s = 0 and its slope is clipped, so that strengths
    do not depend on units, but for the task's. An error counts as 1 / most at least: one that vanishes would get an
    infinite strength.

    The rule was made for losses that cannot become small, and is here for comparison. An error that is pressed down
    earns a larger strength, and is pressed down further, so that every strength ends at about ``most`` |L| whatever the
    symmetry: that ruins the task, also where the symmetries hold. `GradNorm` stays in proportion, `Ratio` finds out
    which hold.

    Args:
        rate: Of the descent, a batch.
        most: The largest exp(-s_k).

    Raises:
        InvalidSetting: A number lies outside its range.

    References:
        Kendall, Gal and Cipolla, Multi-task learning using uncertainty to weigh losses, arXiv 1705.07115.

    Example:
        >>> balancer = Uncertainty()
        >>> balancer.track(torch.tensor([0.5, 0.25]), step=0)
        >>> [round(strength, 6) for strength in balancer.strengths(2, step=1)]
        [2.0, 4.0]
    """

    observes = True
    measures = True

    def __init__(self, rate: float = 0.01, most: float = 10.0) -> None:
        super().__init__()
        if rate <= 0 or most <= 0:
            raise InvalidSetting(f"rate={rate}, most={most}", "positive numbers", "The defaults are 0.01 and 10.")
        self.rate, self.most = rate, most
        self.task: Tensor
        self.errors: Tensor
        # log-variances, NaN before the first value
        self.register_buffer("task", torch.full((), torch.nan, dtype=torch.float64))
        self.register_buffer("errors", torch.zeros(0, dtype=torch.float64))

    def strengths(self, terms: int, step: int) -> list[float]:
        """See `Balancer.strengths`; 0 before the first value."""
        self._size(terms, errors=torch.nan)
        return (self.task.nan_to_num() - self.errors).exp().nan_to_num(0.0).tolist()

    def observe(self, loss: float, moved: bool) -> None:
        """See `Balancer.observe`."""
        self.task = self._descend(self.task, self.task.new_tensor(abs(loss)))

    def track(self, values: Tensor, step: int) -> None:
        """See `Balancer.track`."""
        self._size(len(values), errors=torch.nan)
        self.errors = self._descend(self.errors, values.to(self.errors)).clamp_min(-math.log(self.most))

    def _descend(self, s: Tensor, values: Tensor) -> Tensor:
        moved = s - self.rate * (1 - (-s).exp() * values).clamp(-1.0, 1.0)
        start = values.clamp_min(1e-12).log()
        return torch.where(values.isfinite(), torch.where(s.isnan(), start, moved), s)
