"""Strengths as multipliers of constraints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, final

import torch
from torch import Tensor

from lightning_symmetry.balancing.base import ASSUMED, Balancer, read_length, read_strengths, spread
from lightning_symmetry.exceptions import InvalidSetting

# The multiplier that a typical slack reaches in a fifth of the training, and the least that counts as typical.
TARGET, REACH, SMALL = 1.0, 0.2, 0.05


@final
class Dual(Balancer):
    """Dual ascent: minimise the task's loss subject to v_k <= epsilon_k, resilient where that cannot be had.

    The multiplier of a constraint rises while it is violated and falls to 0 where it is not needed:

        lambda <- clip( lambda + rate (v - epsilon - u), 0, most ),
        u      <- [ u - relax_rate (2 relax_cost u - lambda) ]_+ ,

    with v - epsilon an exponential mean over the batches in which v was measured, and no step before the end of the
    warm-up. The relaxation u >= 0 loosens a constraint at the price relax_cost u^2: it settles at
    lambda = 2 relax_cost u, so that a constraint that cannot be met keeps a bounded multiplier, while in the plain form
    (u = 0) it grows until the clip, and drags the others along. The final multiplier is the sensitivity of the task's
    loss to epsilon: 0 says that the constraint is free, not that there is a symmetry.

    The values may be of two kinds.

    - *Measured errors*, which have no units, with a number for epsilon. Strengths are lambda times the task's first
      loss, which makes rate, relax_cost and most numbers without units, too. The default epsilon of 0.1 is what a
      network leaves of a true symmetry that it learns from a thousand samples; a false one is at 1 to 2.
    - *The task's own losses on moved data*, with epsilon="auto": (1 + margin) times the running loss on unmoved data,
      plus ``share`` of the first loss, about what is published for images. Strengths are lambda; slack and u are in
      units of the first loss. With a number for epsilon, and relative=False, everything is in the loss's own units.

    Without a rate, the multiplier of a constraint that is violated by the typical slack reaches 1 in a fifth of the
    training: rate = 1 / (0.2 batches slack), slack being the mean of the absolute slacks at the end of the warm-up.

    Args:
        epsilon: What is tolerated: a number, one a loss, or "auto".
        rate: Of the multipliers, a batch; None for the automatic one.
        resilient: Whether constraints are relaxed.
        relax_cost: Half the slope of the price of relaxing: the smaller, the less a constraint that cannot be met costs
            the task, and the weaker one that could be is pressed. None for 0.03 of errors and 0.1 of losses.
        relax_rate: Of the relaxations, a batch; None for at once: u = lambda / (2 relax_cost).
        warmup: When steps begin; a share of the training if below 1, else a number of batches.
        smoothing: Weight of the past in the means of slack and of the unmoved loss.
        most: The clip.
        margin: See above.
        share: See above.
        relative: Whether strengths are in units of the task's first loss; it has no meaning with "auto".

    Raises:
        InvalidSetting: A number lies outside its range.

    References:
        Hounie, Chamon and Ribeiro, Automatic data augmentation via invariance-constrained learning, arXiv 2209.15031;
        Hounie, Ribeiro and Chamon, Resilient constrained learning, arXiv 2306.02426.

    Example:
        >>> dual = Dual(epsilon=0.1, rate=0.5, resilient=False, warmup=0, smoothing=0.0, relative=False)
        >>> dual.track(torch.tensor([0.5, 0.05]), step=0)
        >>> dual.strengths(2, step=1)
        [0.2, 0.0]
    """

    measures = True
    ranks = True

    def __init__(
        self,
        epsilon: float | Sequence[float] | Literal["auto"] = 0.1,
        rate: float | None = None,
        resilient: bool = True,
        relax_cost: float | None = None,
        relax_rate: float | None = None,
        warmup: float = 0.05,
        smoothing: float = 0.9,
        most: float = 100.0,
        margin: float = 0.2,
        share: float = 0.1,
        relative: bool = True,
    ) -> None:
        super().__init__()
        relative = relative and epsilon != "auto"
        if relax_cost is None:
            relax_cost = 0.03 if relative else 0.1
        positive = [relax_cost, most, *(r for r in (rate, relax_rate) if r is not None)]
        if min(positive) <= 0 or min(warmup, margin, share) < 0 or not 0 <= smoothing < 1:
            raise InvalidSetting(
                got=f"rate={rate}, relax_cost={relax_cost}, relax_rate={relax_rate}, most={most}, warmup={warmup}, "
                f"margin={margin}, share={share}, smoothing={smoothing}",
                expected="positive rates, relax_cost and most, other numbers >= 0, and smoothing below 1",
                remedy="The defaults are None, None, None, 100, 0.05, 0.2, 0.1 and 0.9.",
            )
        if isinstance(epsilon, str) and epsilon != "auto":
            raise InvalidSetting(f"epsilon={epsilon!r}", "a number, one a loss, or 'auto'", "For example 0.1.")
        self.tolerated = None if isinstance(epsilon, str) else read_strengths(epsilon)
        self.rate, self.resilient, self.relax_cost = rate, resilient, relax_cost
        self.relax_rate = 0.5 / relax_cost if relax_rate is None else relax_rate
        self.warmup, self.smoothing, self.most = warmup, smoothing, most
        self.margin, self.share, self.relative = margin, share, relative
        self.observes = self.relative or self.tolerated is None
        self.batches: int | None = None
        self.first: Tensor
        self.clean: Tensor
        self.pace: Tensor
        self.last: Tensor
        self.dual: Tensor
        self.relaxed: Tensor
        self.slack: Tensor
        # the task's first loss; its running mean on unmoved data, NaN before there is any; the automatic rate; the last
        # batch in which anything was measured
        for name, start in (("first", 0.0), ("clean", math.nan), ("pace", 0.0), ("last", -1.0)):
            self.register_buffer(name, torch.tensor(start, dtype=torch.float64))
        # lambda, u, and the running slack, NaN before there is any
        for name in ("dual", "relaxed", "slack"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))

    def plan(self, batches: int | None) -> None:
        """See `Balancer.plan`."""
        self.batches = batches

    def strengths(self, terms: int, step: int) -> list[float]:
        """See `Balancer.strengths`."""
        self._fit(terms)
        return (self.dual * self.first if self.relative else self.dual).tolist()

    def observe(self, loss: float, moved: bool) -> None:
        """See `Balancer.observe`."""
        if float(self.first) == 0:
            self.first.fill_(abs(loss))
        if not moved:
            mean = float(self.clean)
            self.clean.fill_(loss if math.isnan(mean) else self.smoothing * mean + (1 - self.smoothing) * loss)

    def track(self, values: Tensor, step: int) -> None:
        """See `Balancer.track`."""
        self._fit(len(values))
        if self.tolerated is None and (math.isnan(float(self.clean)) or float(self.first) == 0):
            return
        elapsed = max(step - float(self.last), 1.0)
        self.last.fill_(step)
        excess = (values.to(self.slack) - self._epsilon(len(values))) / self._scale
        mean = torch.where(self.slack.isnan(), excess, self.slack.lerp(excess, 1 - self.smoothing))
        self.slack = torch.where(excess.isfinite(), mean, self.slack)
        if step < read_length(self.warmup, self.batches):
            return
        # a longer step would jump across lambda = 2 relax_cost slack
        stride = min(elapsed * self._pace(), 2 * self.relax_cost if self.resilient else math.inf)
        # what was never measured has neither a slack nor a relaxation
        ascent = self.slack.nan_to_num(0.0) - self.relaxed
        self.dual = (self.dual + stride * ascent).clamp(0.0, self.most)
        if self.resilient:
            slope = 2 * self.relax_cost * self.relaxed - self.dual
            self.relaxed = (self.relaxed - self.relax_rate * slope).clamp_min(0.0)

    def readings(self, terms: int, step: int) -> dict[str, list[float]]:
        """Say the strengths, multipliers ("dual"), v - epsilon ("slack"), u ("relaxed"), and 1 for "infeasible".

        A constraint counts as infeasible where more than epsilon was added to it, or its multiplier is at the clip.
        Slack and u are in the units of the values; slack is NaN before the first measurement, and the plain form has
        no u.
        """
        strengths = self.strengths(terms, step)
        relaxed = self.relaxed * self._scale
        lost = (self.dual >= self.most) | (relaxed > self._epsilon(terms))
        return {
            "strength": strengths,
            "dual": self.dual.tolist(),
            "slack": (self.slack * self._scale).tolist(),
            **({"relaxed": relaxed.tolist()} if self.resilient else {}),
            "infeasible": lost.double().tolist(),
        }

    def _fit(self, terms: int) -> None:
        self._size(terms, dual=0.0, relaxed=0.0, slack=math.nan)
        spread(self.tolerated or [0.0], terms)

    def _epsilon(self, terms: int) -> Tensor:
        if self.tolerated is not None:
            return self.slack.new_tensor(spread(self.tolerated, terms))
        mean = self.clean.nan_to_num(0.0)
        return (mean + self.margin * mean.abs() + self.share * self.first).expand(terms)

    @property
    def _scale(self) -> float:
        """What slack and u are in units of."""
        return 1.0 if self.tolerated is not None else max(float(self.first), 1e-30)

    def _pace(self) -> float:
        if self.rate is not None:
            return self.rate
        if float(self.pace) == 0:
            typical = max(float(self.slack.abs().nanmean()), SMALL)
            rate = TARGET / (REACH * (self.batches or ASSUMED) * typical)
            # slower than the relaxation and the mean of the slack, between which it would swing
            self.pace.fill_(min(rate, 0.2 * self.relax_cost) if self.resilient else rate)
        return float(self.pace)
