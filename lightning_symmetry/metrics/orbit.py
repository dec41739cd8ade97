"""How much of an answer depends on where in its orbit the input lies."""

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
    has_classes,
    join_keys,
    measuring,
)
from lightning_symmetry.paths import get_leaf
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetry import Symmetry

_CONSTANT = 1e-12


@final
class OrbitConsistency(SymmetryMetric):
    """Agreement of the answers along an orbit, each moved back: ``c_g = g^-1 f(g x)``.

    - "consistency": the share of elements with ``argmax c_g = argmax f(x)`` along axis 1, of outputs whose action is
      `label` or `mask`; the sign where there is but one number;
    - "variance": ``E_x Var_g c_g / Var_x E_g c_g``, 0 for a symmetric map; of drawn elements both variances are free of
      the bias that their number brings.

    Of several outputs each has keys of its own, ``variance/<path>``. The rows of a graph are averaged first.

    Args:
        symmetry: Group, law and actions; a sentence or a mapping will do.
        n: Draws a sample; None takes every element of a finite group once.
        seed: Of the draws, which depend on it, the number of the batch and the global row alone.
        folds: Of the standard errors.

    Raises:
        InvalidSetting: There are fewer than two draws.

    Cost: n + 1 forwards.

    Example:
        >>> metric = OrbitConsistency("C4 on vector(2) -> label", n=None)
        >>> metric.update(lambda x: x, torch.tensor([[3.0, 4.0], [-2.0, 1.0]]))
        >>> metric.compute()["consistency"]
        tensor(0.5000, dtype=torch.float64)
    """

    def __init__(self, symmetry: Any, n: int | None = 4, seed: int = 0, folds: int = 16) -> None:
        super().__init__(folds)
        if n is not None and n < 2:
            raise InvalidSetting(f"n={n}", "at least two draws, or None for all elements", "Try 4.")
        self.symmetry = Symmetry.of(symmetry)
        self.n, self.seed = n, seed

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
            outputs = find_answers(y, "Return logits or values.")
            sums: dict[str, Tensor] = {}
            for g, weight in drawn:
                back = symmetry.move_output(~g, f(symmetry.move_input(g, x)), rows)
                for path, leaf in outputs.items():
                    answer = get_leaf(back, path).double()
                    spread = rows.choose(weight, len(answer), path).view(-1, *[1] * (answer.ndim - 1))
                    terms = {"mean": spread * answer, "square": spread * answer.square()}
                    if has_classes(self.symmetry, path):
                        terms["agree"] = spread[:, 0] if answer.ndim > 1 else spread
                        terms["agree"] = terms["agree"] * (_decide(answer) == _decide(leaf))
                    for name, term in terms.items():
                        add_term(sums, f"{name} {path}", term)
            # what a draw less than infinitely many leaves of the variance of their mean
            left = 0.0 if self.n is None else sum(weight.square() for _, weight in drawn)
            self.accumulate(self._collect(sums, outputs, rows, left), assign_folds(x, symmetry))

    def _collect(
        self, sums: Mapping[str, Tensor], outputs: Mapping[str, Tensor], rows: Rows, left: Tensor | float
    ) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for path in outputs:
            pool = partial(rows.pool, path=path)
            mean = as_rows(sums[f"mean {path}"])
            within = pool((as_rows(sums[f"square {path}"]) - mean.square()).mean(1)) / (1 - left)
            values[f"within {path}"] = within
            values[f"power {path}"] = pool(mean.square().mean(1)) - left * within
            values[f"mean {path}"] = pool(mean)
            values[f"bias {path}"] = left * within
            if f"agree {path}" in sums:
                values[f"agree {path}"] = pool(as_rows(sums[f"agree {path}"]).mean(1))
        return values

    def summarise(self, sums: Mapping[str, Tensor], count: Tensor) -> dict[str, Tensor]:
        """Divide."""
        paths = [name.removeprefix("within ") for name in sums if name.startswith("within ")]
        found: dict[str, Tensor] = {}
        for path in paths:
            if f"agree {path}" in sums:
                found[join_keys("consistency", path, paths)] = sums[f"agree {path}"] / count
            power, mean = sums[f"power {path}"], sums[f"mean {path}"] / count.unsqueeze(1)
            # the mean over samples carries their noise, 1 / count of it
            spread = power - count * mean.square().mean(1) + sums[f"bias {path}"] / count
            spread = torch.where(count > 1, spread, power)
            scale = torch.maximum(spread, _CONSTANT * power).clamp_min(torch.finfo(power.dtype).tiny)
            found[join_keys("variance", path, paths)] = sums[f"within {path}"] / scale
        return found


def _decide(logits: Tensor) -> Tensor:
    """Take the class of (B, C, ...), or the sign of a single number: (B, ...)."""
    if logits.ndim == 1:
        return logits > 0
    return logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(1)
