"""A strength that needs no constant, for losses that reward wider augmentation."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.balancing.base import Balancer
from lightning_symmetry.exceptions import InvalidSetting

# Of a constraint: what is left of a batch's weight one batch later, and the least strength in units of the first loss.
WINDOW = 0.95
LEAST = 0.003


@final
class Constraint(Balancer):
    """A strength without a constant to tune, for losses that reward wider augmentation.

    The strength is lambda L_0, in units of the task's first loss. It is the largest at which moved data cost no more
    than allowed, and the stronger it is the less is allowed:

        E[task | moved] <= E[task | unmoved] + share |E[task | unmoved]| + slack L_0 / lambda.

    So where labels end abruptly, and little is lost before a lot is, the strength is high and the limit is found
    sharply; where everything costs a little, it falls until the cost is worth it. lambda begins at 1 and follows dual
    ascent in its logarithm,

        log lambda -= rate * clip( (moved - unmoved) / allowed - 1, -1, 1 ),

    between 0.003 and 1. An untrained network does not mind, so that everything opens at once and then closes to what
    the task can afford, which is found faster from above than from below. Every ``every``-th batch is trained unmoved
    and without the losses; both means are over the same past, an exponential window of 20 batches.

    Args:
        share: Of the unmoved loss, allowed on top of it.
        slack: Of the first loss, likewise, at lambda = 1.
        every: Every how many batches one is left unmoved.
        rate: Of the dual ascent, a batch.

    Raises:
        InvalidSetting: A number lies outside its range.
    """

    observes = True

    def __init__(self, share: float = 0.2, slack: float = 1e-4, every: int = 4, rate: float = 0.03) -> None:
        super().__init__()
        if min(share, slack, rate) < 0 or share + slack == 0 or every < 2:
            raise InvalidSetting(
                got=f"share={share}, slack={slack}, every={every}, rate={rate}",
                expected="numbers >= 0, share or slack above it, and every >= 2",
                remedy="The defaults are 0.2, 0.0001, 4 and 0.03.",
            )
        self.share, self.slack, self.every, self.rate = share, slack, every, rate
        self.log_strength: Tensor
        self.scale: Tensor
        self.totals: Tensor
        self.register_buffer("log_strength", torch.zeros((), dtype=torch.float64))
        self.register_buffer("scale", torch.zeros((), dtype=torch.float64))
        # discounted sums of the loss and of ones, unmoved and moved
        self.register_buffer("totals", torch.zeros(2, 2, dtype=torch.float64))

    def is_reference(self, step: int) -> bool:
        """See `Balancer.is_reference`."""
        return step % self.every == 0

    def strengths(self, terms: int, step: int) -> list[float]:
        """See `Balancer.strengths`; 0 on batches for comparison."""
        strength = 0.0 if self.is_reference(step) else math.exp(float(self.log_strength)) * float(self.scale)
        return [strength] * terms

    def observe(self, loss: float, moved: bool) -> None:
        """See `Balancer.observe`."""
        if float(self.scale) == 0:
            self.scale.fill_(abs(loss))
        self.totals.mul_(WINDOW)
        self.totals[int(moved)] += torch.tensor([loss, 1.0], dtype=torch.float64)
        (unmoved, few), (shifted, many) = self.totals.tolist()
        if few == 0 or many == 0:
            return
        allowed = self.share * abs(unmoved / few) + self.slack * float(self.scale) / math.exp(float(self.log_strength))
        excess = (shifted / many - unmoved / few) / max(allowed, 1e-30) - 1
        self.log_strength.sub_(self.rate * min(max(excess, -1.0), 1.0)).clamp_(math.log(LEAST), 0.0)
