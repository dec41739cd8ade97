"""How far apart f(gx) and g f(x) are, for elements that are drawn, or for all of a finite group."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.residuals import as_rows
from lightning_symmetry.metrics.base import (
    Map,
    SymmetryMetric,
    add_term,
    assign_folds,
    draw_elements,
    find_answers,
    join_keys,
    measure_gap,
    measuring,
)
from lightning_symmetry.paths import get_leaf
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetry import Symmetry

NORMALISATIONS = ("relative", "scale_adjusted", "scale_adjusted_max", "variance", "rms", "mean", "max")
_CONSTANT = 1e-12


@final
class EquivarianceError(SymmetryMetric):
    """Finite equivariance error between ``a = f(g x)`` and ``b = g f(x)``, over drawn elements g.

    With RMS the root of the mean square over samples, elements and numbers of the output, the key "error" is

    - "relative": ``RMS(a - b) / (RMS(a) + RMS(b))``, between 0 and 1;
    - "scale_adjusted": the same with ``+ mean|g - 1|`` in the denominator, so that small steps do not look good;
    - "scale_adjusted_max": the same with ``max(RMS(a) + RMS(b), RMS(g - 1))``;
    - "variance": ``E|a - b|^2 / E|f - Ef|^2``, which does not reward a large constant; the loss `Equivariance`;
    - "rms": ``RMS(a - b)``; "mean": the mean of ``|a - b|``; "max": its maximum, which has no standard error.

    ``g - 1`` is taken on the unit vectors of the space that g moves, which is its matrix for a linear group. Of several
    outputs each has a key of its own, ``error/<path>``, and "error" is their mean ("max": their maximum). The rows of a
    graph are averaged first.

    Args:
        symmetry: Group, law and actions; a sentence or a mapping will do.
        n: Draws a sample; None takes every element of a finite group once.
        normalise: See above.
        seed: Of the draws, which depend on it, the number of the batch and the global row alone.
        folds: Of the standard errors.

    Raises:
        InvalidSetting: A setting makes no sense.

    Cost: n + 1 forwards.

    References:
        Finzi, Welling and Wilson, A practical method for constructing equivariant MLPs, arXiv 2104.09459 (the first
        three); Geiger and Smidt, e3nn, arXiv 2207.09453 ("max"); Wang, Walters and Yu, arXiv 2201.11969 ("mean").

    Example:
        >>> metric = EquivarianceError("C4 on vector(2) -> scalar", n=None)
        >>> metric.update(lambda x: x.square().sum(1), torch.tensor([[3.0, 4.0], [1.0, 2.0]]))
        >>> bool(metric.compute()["error"] < 1e-6)
        True
    """

    largest: Tensor

    def __init__(
        self, symmetry: Any, n: int | None = 4, normalise: str = "relative", seed: int = 0, folds: int = 16
    ) -> None:
        super().__init__(folds)
        if normalise not in NORMALISATIONS:
            raise InvalidSetting(
                f"normalise={normalise!r}", f"one of {', '.join(NORMALISATIONS)}", "Choose one of these."
            )
        if n is not None and n < 1:
            raise InvalidSetting(f"n={n}", "at least one draw, or None for all elements", "Try 4.")
        self.symmetry = Symmetry.of(symmetry)
        self.n, self.normalise, self.seed = n, normalise, seed
        self.add_state("largest", torch.zeros((), dtype=torch.float64), dist_reduce_fx="max")

    def update(self, f: Map, x: Any) -> None:
        """Measure a map on samples.

        Args:
            f: Map that treats samples independently, in evaluation mode.
            x: Input structure of B samples.
        """
        with measuring():
            symmetry, rows = self.symmetry.bind(x), Rows.of(x)
            drawn = draw_elements(symmetry, x, self.n, self.seed, self.next_batch())
            y = f(x)
            symmetry.bind(x, y)
            outputs = find_answers(y, "Return what the loss is of.")
            values: dict[str, Tensor] = {}
            for g, weight in drawn:
                answer, expected = f(symmetry.move_input(g, x)), symmetry.move_output(g, y, rows)
                gap = measure_gap(g, weight)
                add_term(values, "step", weight * gap.abs().mean(1))
                add_term(values, "step2", weight * gap.square().mean(1))
                for path in outputs:
                    a, b = (as_rows(get_leaf(tree, path).double()) for tree in (answer, expected))
                    pool = partial(rows.pool, path=path)
                    terms = {
                        "square": (a - b).square(),
                        "moved": a.square(),
                        "expected": b.square(),
                        "abs": (a - b).abs(),
                    }
                    for name, term in terms.items():
                        add_term(values, f"{name} {path}", weight * pool(term.mean(1)))
                    self.largest = torch.maximum(self.largest, (a - b).abs().max().to(self.largest))
            if self.normalise == "variance":
                for path, leaf in outputs.items():
                    flat = as_rows(leaf.double())
                    values[f"power {path}"] = rows.pool(flat.square().mean(1), path)
                    values[f"mean {path}"] = rows.pool(flat, path)
            self.accumulate(values, assign_folds(x, symmetry))

    def compute(self) -> dict[str, Tensor]:
        """Give "error" and its standard error, and those of each output where there are several."""
        found = super().compute()
        return {"error": self.largest} if self.normalise == "max" else found

    def summarise(self, sums: Mapping[str, Tensor], count: Tensor) -> dict[str, Tensor]:
        """Divide."""
        paths = [name.removeprefix("square ") for name in sums if name.startswith("square ")]
        found = {join_keys("error", path, paths): self._divide(sums, path, count) for path in paths}
        return found if len(paths) == 1 else {"error": torch.stack(list(found.values())).mean(0), **found}

    def _divide(self, sums: Mapping[str, Tensor], path: str, count: Tensor) -> Tensor:
        if self.normalise == "mean":
            return sums[f"abs {path}"] / count
        error = sums[f"square {path}"] / count
        if self.normalise == "variance":
            power, mean = sums[f"power {path}"] / count, sums[f"mean {path}"] / count.unsqueeze(1)
            spread = torch.where(count > 1, power - mean.square().mean(1), power)
            return error / torch.maximum(spread, _CONSTANT * power).clamp_min(torch.finfo(error.dtype).tiny)
        if self.normalise in ("rms", "max"):
            return error.sqrt()
        scale = (sums[f"moved {path}"] / count).sqrt() + (sums[f"expected {path}"] / count).sqrt()
        if self.normalise == "scale_adjusted":
            scale = scale + sums["step"] / count
        if self.normalise == "scale_adjusted_max":
            scale = torch.maximum(scale, (sums["step2"] / count).sqrt())
        return error.sqrt() / scale.clamp_min(torch.finfo(error.dtype).tiny)
