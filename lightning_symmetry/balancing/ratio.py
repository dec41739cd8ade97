"""Strengths by what was measured: what the data support keeps its strength, the rest loses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.balancing.base import Balancer, read_length, read_strengths, spread
from lightning_symmetry.exceptions import InvalidSetting

# What is left of a strength at least, and the least error that is told from 0.
LEAST, EXACT = 1e-6, 1e-12
# The automatic strength is chosen after this share of the training, and takes no error for less.
FIRST, SMALL = 0.01, 1e-3


@final
class Ratio(Balancer):
    """The ratio rule: after a first phase with equal strengths, each is divided by its error's excess over the least.

    With R_k the mean of the k-th error over a window that ends at ``start``,

        lambda_k = lambda_0 (R_ref / R_k)^power,    R_ref = min( min_j R_j, gate ),

    so that the symmetry that the data support best keeps lambda_0 and another loses orders of magnitude, though not
    more than a factor 10^-6. Without the gate the best of several false candidates would keep its strength, too; with
    it all of them fall, by (gate / R)^power. It is in the units of normalised errors: 1 to 2, and more early in
    training, for what has nothing to do with the data, 0.1 to 0.3 for a symmetry that is learnt from few samples; use
    infinity for errors in other units. It sees nothing once the strengths press every candidate below it. Where each
    symmetry has several losses, errors of the same loss are compared.

    The rule is applied once. Repeated, it is applied at every multiple of ``start`` to the errors of the window before
    it, half of the way in the logarithm, always from lambda_0: what becomes true later comes back. A window stays open
    until every error was measured, and an error that was not measured in some batches is averaged over the others. The
    published program keeps the vector of one batch, chosen by a rule that depends on logging; the mean is not noisy.

    An automatic lambda_0 makes the penalties a share of the task's loss: sum_k lambda_0 R_k = share |L|, with means
    over the second half of the first hundredth of the training, during which all strengths are 0.

    Args:
        power: The larger, the more an error costs.
        start: When the rule is applied; a share of the training if below 1, else a number of batches.
        window: How long errors are averaged before that, likewise.
        strength: lambda_0, one number or one a loss; a loss of strength 0 stays there and takes no part. None for the
            automatic one.
        gate: The largest error that may pass for a symmetry.
        repeat: Whether the rule is applied again and again; None where the length of the training is unknown, which
            counts as 5000 batches.
        share: Of the task's loss, for the automatic strength. A tenth does not harm; where a candidate is true, a share
            of 1 may gain more.

    Raises:
        InvalidSetting: A number lies outside its range.

    References:
        Kim, Lee, Yang and Lee, Regularizing towards soft equivariance under mixed symmetries, arXiv 2306.00356. The
        gate, the mean and the automatic strength are ours.

    Example:
        >>> rule = Ratio(start=1, window=1, strength=100.0, repeat=False)
        >>> rule.track(torch.tensor([1e-3, 1e-2, 1e-1]), step=0)
        >>> [round(strength, 6) for strength in rule.strengths(3, step=1)]
        [100.0, 1.0, 0.01]
    """

    ranks = True

    def __init__(
        self,
        power: float = 2.0,
        start: float = 0.2,
        window: float = 0.05,
        strength: float | Sequence[float] | None = None,
        gate: float = 0.5,
        repeat: bool | None = None,
        share: float = 0.1,
    ) -> None:
        super().__init__()
        if min(power, start, window, gate, share) <= 0:
            raise InvalidSetting(
                got=f"power={power}, start={start}, window={window}, gate={gate}, share={share}",
                expected="numbers above 0",
                remedy="The defaults are 2, 0.2, 0.05, 0.5 and 0.1.",
            )
        self.power, self.start, self.window, self.gate = power, start, window, gate
        self.given = None if strength is None else read_strengths(strength)
        self.repeat, self.share = repeat, share
        self.observes = self.measures = strength is None
        self.batches: int | None = None
        self.unit: Tensor
        self.loss: Tensor
        self.began: Tensor
        self.factors: Tensor
        self.totals: Tensor
        self.counts: Tensor
        # the automatic strength, 0 before it is known; the task's last loss, and the sum and number in the window; the
        # batch after which the rule was last applied, and whether it ever was
        self.register_buffer("unit", torch.zeros((), dtype=torch.float64))
        self.register_buffer("loss", torch.zeros(3, dtype=torch.float64))
        self.register_buffer("began", torch.zeros(2, dtype=torch.float64))
        # what is left of each strength; sum and number of each error in the window
        for name in ("factors", "totals", "counts"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))

    def plan(self, batches: int | None) -> None:
        """See `Balancer.plan`."""
        self.batches = batches

    def strengths(self, terms: int, step: int) -> list[float]:
        """See `Balancer.strengths`."""
        self._size(terms, factors=1.0, totals=0.0, counts=0.0)
        return (self._initial(terms) * self.factors).tolist()

    def readings(self, terms: int, step: int) -> dict[str, list[float]]:
        """Say the strengths, and lambda_0 ("first_strength")."""
        strengths = self.strengths(terms, step)
        return {"strength": strengths, "first_strength": self._initial(terms).tolist()}

    def observe(self, loss: float, moved: bool) -> None:
        """See `Balancer.observe`."""
        self.loss[0] = abs(loss)

    def track(self, values: Tensor, step: int) -> None:
        """See `Balancer.track`."""
        self._size(len(values), factors=1.0, totals=0.0, counts=0.0)
        initial = self._initial(len(values))
        choosing = self.given is None and not float(self.unit)
        if not choosing and self._is_once and float(self.began[1]):
            return
        end, window = self._phase(choosing)
        if step < end - window:
            return
        seen = values.isfinite()
        self.totals = self.totals + torch.where(seen, values, 0.0).to(self.totals)
        self.counts = self.counts + seen.to(self.counts)
        self.loss[1:] += torch.stack((self.loss[0], torch.ones_like(self.loss[0])))
        needed = torch.ones_like(initial, dtype=torch.bool) if choosing else initial > 0
        if step + 1 < end or not bool((self.counts[needed] > 0).all()):
            return
        errors = self.totals / self.counts
        if choosing:
            self.unit = self.share * self.loss[1] / self.loss[2] / errors.clamp_min(SMALL).sum()
        else:
            self._adjust(errors, needed, step)
        self.totals, self.counts = torch.zeros_like(self.totals), torch.zeros_like(self.counts)

    def _adjust(self, errors: Tensor, needed: Tensor, step: int) -> None:
        errors = torch.where(needed, errors.clamp_min(EXACT), torch.inf).unflatten(0, (-1, self.losses))
        least = errors.amin(0).clamp_max(self.gate)
        target = (least / errors).pow(self.power).clamp_min(LEAST).flatten()
        self.factors = target if self._is_once else (self.factors * target).sqrt()
        self.began = self.began.new_tensor([step + 1.0, 1.0])

    def _initial(self, terms: int) -> Tensor:
        return self.unit.expand(terms) if self.given is None else self.unit.new_tensor(spread(self.given, terms))

    @property
    def _is_once(self) -> bool:
        return self.batches is not None if self.repeat is None else not self.repeat

    def _phase(self, choosing: bool) -> tuple[float, int]:
        """Say when the window ends, after so many batches, and how long it is."""
        if choosing:
            first = max(read_length(FIRST, self.batches), 1)
            return first, -(-first // 2)
        period = max(read_length(self.start, self.batches), 1)
        return float(self.began[0]) + period, min(max(read_length(self.window, self.batches), 1), period)
