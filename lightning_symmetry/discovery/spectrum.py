"""`Spectrum`: how far every candidate direction is from being a symmetry, with intervals and a null."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

# A logger with hundreds of curves is of no use.
_MOST_LOGGED = 32


@final
@dataclass(frozen=True)
class Direction:
    """One direction of the candidates, as the generalised eigenproblem found it.

    Args:
        defect: How far it is from a symmetry, relative to what a random direction of its length does: 0 is exact, 1 is
            none.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
        upper: One-sided 95 % bound, which decides.
        label: "equivariance", "invariance", or "homogeneity of degree p".
        two_term: Defect relative to how far the moved input and the moved output change the answer, each for itself;
            None for invariances.
    """

    defect: float
    low: float
    high: float
    upper: float
    label: str = "equivariance"
    two_term: float | None = None


@final
@dataclass(frozen=True)
class Spectrum:
    """Every candidate direction, the most symmetric first, and what the data could not tell.

    Args:
        directions: In ascending order of their defect.
        delta: The bound: a direction is declared whose ``upper`` is below it.
        declared: Number d of generators declared.
        null: Defects, ascending, of the same network with derivatives and points paired at random; empty without.
        samples: Number of samples N.
        folds: Number of folds of the jackknife.
        unidentifiable: Directions that move nothing on the data, dropped.
        dead_outputs: Directions of the output that the data do not reach, dropped.
        pointwise_rank: Dimension of the span of the declared fields at a generic point; None where it says no more than
            ``declared``.
        multiples: Null directions that are functions times declared ones, not counted (of invariances).
        unit: What a defect of 1 is, in words.
        refused: Why nothing could be told, without a full stop; "" where it could.
    """

    directions: tuple[Direction, ...]
    delta: float
    declared: int
    null: tuple[float, ...] = ()
    samples: int = 0
    folds: int = 16
    unidentifiable: int = 0
    dead_outputs: int = 0
    pointwise_rank: int | None = None
    multiples: int = 0
    unit: str = "a random direction of the same length"
    refused: str = ""

    @property
    def gap(self) -> float | None:
        """How many times larger the first defect is that was not declared; None without one on either side."""
        if not 0 < self.declared < len(self.directions):
            return None
        return self.directions[self.declared].defect / max(self.directions[self.declared - 1].defect, 1e-12)

    def metrics(self) -> dict[str, float]:
        """Give the numbers that a logger wants.

        Returns:
            ``n_generators``, ``refused`` (0 or 1), ``gap`` where there is one, and ``defect_i`` of every direction.
        """
        values = {"n_generators": float(self.declared), "refused": float(bool(self.refused))}
        if self.gap is not None:
            values["gap"] = self.gap
        return values | {f"defect_{i}": d.defect for i, d in enumerate(self.directions[:_MOST_LOGGED])}

    def to_dict(self) -> dict[str, Any]:
        """Write plain values that `from_dict` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Spectrum:
        """Read plain values.

        Args:
            values: As `to_dict` writes them.

        Returns:
            The spectrum.
        """
        directions = tuple(Direction(**one) for one in values["directions"])
        return cls(**{**values, "directions": directions, "null": tuple(values["null"])})
