"""How strongly each loss counts."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.losses import Call

# Of a constraint: what is left of a batch's weight one batch later, and the least strength in units of the first loss.
WINDOW = 0.95
LEAST = 0.003


class Balancer(nn.Module, ABC):
    """Turns the values of T losses into one number, sum_i strength_i value_i.

    State that training changes lives in buffers, so that a resumed run goes on exactly.

    Attributes:
        observes: Whether it wants to be told the task's loss of every batch.
    """

    observes: bool = False

    @abstractmethod
    def forward(self, values: Tensor, call: Call) -> Tensor:
        """Weigh (T,) values into a scalar."""

    @abstractmethod
    def strengths(self, terms: int, step: int) -> list[float]:
        """The strengths of ``terms`` losses at a batch; a loss of strength 0 is neither drawn for nor computed."""

    def is_reference(self, step: int) -> bool:
        """Tell whether the task is trained on unmoved data in a batch, for comparison."""
        return False

    def observe(self, loss: float, moved: bool) -> None:
        """Learn the task's own loss of a batch, after it.

        Args:
            loss: As the training step returned it: without the penalty, the scaler or accumulation; the mean over
                ranks. A batch that has none, or one that is not finite, is not told.
            moved: Whether the task was trained on moved data.
        """


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

    def forward(self, values: Tensor, call: Call) -> Tensor:
        """See `Balancer.forward`."""
        return values.sum() * self.strengths(len(values), call.step)[0]

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
