"""Regularizers for runs of a few batches: every balancer, and every way to measure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from lightning_symmetry.balancing import Balancer, Dual, GradNorm, Ratio, Uncertainty
from lightning_symmetry.callbacks import EquivarianceRegularizer
from lightning_symmetry.losses import Equivariance, InfinitesimalEquivariance, Loss, Projection

CANDIDATES = ["SO(2) on vector -> vector", "O(2) on vector -> scalar"]
TYPES = {"0": "1x1 -> 2x0 + 3x1", "2": "2x0 + 3x1 -> 1x1"}

# windows of a few batches, and every one of them still open at some batch
BALANCERS: dict[str, Callable[[], Balancer]] = {
    "ratio": lambda: Ratio(start=3, window=2, strength=1.0, gate=10.0, repeat=True),
    "ratio, automatic": lambda: Ratio(start=4, window=3, gate=10.0),
    "dual": lambda: Dual(0.002, rate=3.0, warmup=1, smoothing=0.5),
    "dual, plain": lambda: Dual([0.002, 0.01], rate=2.0, resilient=False, warmup=0, relative=False),
    "uncertainty": lambda: Uncertainty(rate=0.1),
    "gradnorm": lambda: GradNorm(rate=0.1),
}
MEASURES: dict[str, Callable[[], list[Loss]]] = {
    "answers": lambda: [Equivariance()],
    "infinitesimal": lambda: [InfinitesimalEquivariance()],
    "feature": lambda: [Equivariance(feature="0", action="scalar")],
    "infinitesimal feature": lambda: [InfinitesimalEquivariance(feature="1", action="scalar")],
    "weights": lambda: [Projection(TYPES)],
    "several": lambda: [Equivariance(), Equivariance("kl", feature="0", action="scalar"), Projection(TYPES)],
}


def make_regularizer(
    balance: Any = "dual", measure: str = "answers", candidates: Any = None, **settings: Any
) -> EquivarianceRegularizer:
    """Make one that has learnt something after four batches.

    Args:
        balance: One of `BALANCERS`, or as the constructor takes it.
        measure: One of `MEASURES`.
        candidates: Symmetries, by default one that holds and one that does not.
        settings: Of the constructor.
    """
    made = BALANCERS[balance]() if isinstance(balance, str) else balance
    settings.setdefault("losses", MEASURES[measure]())
    return EquivarianceRegularizer(CANDIDATES if candidates is None else candidates, balance=made, **settings)


def learnt(callback: EquivarianceRegularizer) -> dict[str, Tensor]:
    """What the balancer has learnt; -1 for what was not measured yet."""
    return {name: kept.nan_to_num(-1.0) for name, kept in callback.balance.state_dict().items()}


def strengths(callback: EquivarianceRegularizer) -> list[float]:
    """Of the next batch."""
    return callback.balance.strengths(len(callback.symmetries) * len(callback.losses), callback.step)
