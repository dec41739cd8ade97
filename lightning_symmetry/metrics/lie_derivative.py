"""How fast the answer moves when the input is transformed by little, after undoing what the answer should do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import pi
from typing import Any, final

import torch
from torch import Tensor

from lightning_symmetry.actions.grid import GridAction
from lightning_symmetry.differentiation import BACKENDS, Derivatives, differentiate
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.residuals import as_rows
from lightning_symmetry.functional.warp import GRADIENTS
from lightning_symmetry.groups import Group
from lightning_symmetry.metrics.base import (
    Map,
    SymmetryMetric,
    assign_folds,
    differentiating,
    join_keys,
    measuring,
    name_keys,
)
from lightning_symmetry.paths import get_leaf, replace_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetrization import input_tangents
from lightning_symmetry.symmetry import Symmetry

REDUCTIONS = ("relative", "abs", "sq")
# Ten degrees of a rotation; a tenth of anything else, which is 5 % of the longer side for a translation of images.
_TURN, _STEP = pi / 18, 0.1
# A field below this share of the answer's power is one that leaves the answer alone.
_STILL = 1e-20
# A variance below this share of the power is rounding.
_CONSTANT = 1e-12


@final
class LieDerivativeError(SymmetryMetric):
    """Local equivariance error: the size of the Lie derivative of a map, one number a generator.

    With ``a_k = Df(x) v_k(x)``, the change of the answer, and ``w_k = w_k(f(x))``, the change that it should make,
    ``L_k f = a_k - w_k`` vanishes for all x and k exactly when f has the symmetry on the connected group. Reported are

    - "relative": ``R_k = sqrt( E|L_k f|^2 / (E|a_k|^2 + E|w_k|^2) )``, between 0 and sqrt 2, 1 where the answer ignores
      what it should follow; where a generator leaves the answer alone,
      ``R_k = s_k sqrt( E|a_k|^2 / E|f - Ef|^2 )``, the change of the answer in a step s_k, relative to its spread;
    - "abs": the mean of the absolute values of ``L_k f`` over samples and numbers of the output, as published;
    - "sq": ``E|L_k f|^2``.

    Keys are the names of the generators, and "overall" (root mean square for "relative", mean otherwise). Of several
    outputs each has keys of its own, ``<name>/<path>``, and ``<name>`` combines them in the same way. The rows of a
    graph are averaged first.

    Args:
        symmetry: Group and actions; a sentence or a mapping will do.
        reduction: "relative", which has no units, "abs" or "sq".
        derivative: Of content on grids: "spectral", "central", or "bilinear", the one-sided derivative of the published
            code, for comparisons only; None leaves it to the actions.
        backend: How f is differentiated, see `differentiate`.
        steps: Reference step of each generator, or one for all, in units of its coefficient; None takes ten degrees for
            rotations, else 0.1: a tenth for scalings, 5 % of the longer side for translations of images.
        names: Of the generators; by default they are counted.
        folds: Of the standard errors.

    Raises:
        InvalidSetting: A setting is unknown.

    Cost: one forward and K tangents, for K generators; or a backward for each number of the output.

    References:
        Gruver et al., The Lie derivative for measuring learned equivariance, arXiv 2210.02984.

    Example:
        >>> metric = LieDerivativeError("SO(2) on vector -> vector", names=["rotation"])
        >>> metric.update(lambda x: x * x.norm(dim=1, keepdim=True), torch.tensor([[3.0, 4.0], [1.0, 2.0]]))
        >>> bool(metric.compute()["rotation"] < 1e-6)
        True
    """

    def __init__(
        self,
        symmetry: Any,
        reduction: str = "relative",
        derivative: str | None = None,
        backend: str = "auto",
        steps: float | Sequence[float] | None = None,
        names: Sequence[str] | None = None,
        folds: int = 16,
    ) -> None:
        super().__init__(folds)
        for value, known in ((reduction, REDUCTIONS), (backend, BACKENDS), (derivative, (None, *GRADIENTS))):
            if value not in known:
                raise InvalidSetting(repr(value), f"one of {', '.join(map(str, known))}", "Choose one of these.")
        self.symmetry = Symmetry.of(symmetry)
        self.reduction, self.derivative, self.backend = reduction, derivative, backend
        self.steps, self.names = steps, names
        self._paths: list[str] = []

    def update(self, f: Map, x: Any) -> None:
        """Measure a map on samples.

        Args:
            f: Map that treats samples independently, in evaluation mode.
            x: Input structure of B samples.

        Raises:
            InvalidSetting: The group has no generators.
            ActionMismatch: There is no output with numbers for each sample.
        """
        with measuring(), differentiating(self.symmetry, self.derivative):
            self.symmetry.bind(x)
            name_keys(self.names, self.symmetry.group, self.symmetry.group.count)
            found = differentiate(f, x, input_tangents(x, self.symmetry), self.backend)
            values = _square(found, self.symmetry, x)
            self.accumulate(values, assign_folds(x, self.symmetry))

    def summarise(self, sums: Mapping[str, Tensor], count: Tensor) -> dict[str, Tensor]:
        """Give each generator's number, and all of them together."""
        paths = [name.removeprefix("error ") for name in sums if name.startswith("error ")]
        steps = self._steps().to(count)
        by_path = {path: self._reduce(sums, path, count.unsqueeze(1), steps) for path in paths}
        size = steps.shape[0]
        found: dict[str, Tensor] = {}
        for k, name in enumerate(name_keys(self.names, self.symmetry.group, size)):
            found[name] = self._combine([value[:, k] for value in by_path.values()])
            if len(paths) > 1:
                found |= {join_keys(name, path, paths): value[:, k] for path, value in by_path.items()}
        found["overall"] = self._combine([value[:, k] for value in by_path.values() for k in range(size)])
        return found

    def _reduce(self, sums: Mapping[str, Tensor], path: str, count: Tensor, steps: Tensor) -> Tensor:
        """Give (L, K) of one output."""
        if self.reduction == "abs":
            return sums[f"abs {path}"] / count
        error = sums[f"error {path}"]
        if self.reduction == "sq":
            return error / count
        change, field, power = sums[f"change {path}"], sums[f"field {path}"], sums[f"power {path}"].unsqueeze(1)
        tied = error / (change + field).clamp_min(torch.finfo(error.dtype).tiny)
        mean = sums.get(f"mean {path}")
        centre = 0.0 if mean is None else (mean / count).square().sum(1, keepdim=True) * count
        # of a single sample the power stands in
        spread = torch.where(count > 1, power - centre, power).clamp_min(_CONSTANT * power)
        free = steps.square() * change / spread.clamp_min(torch.finfo(error.dtype).tiny)
        return torch.where(field > _STILL * power, tied, free).sqrt()

    def _combine(self, values: Sequence[Tensor]) -> Tensor:
        stacked = torch.stack(list(values))
        return stacked.square().mean(0).sqrt() if self.reduction == "relative" else stacked.mean(0)

    def _steps(self) -> Tensor:
        if self.steps is None:
            return reference_steps(self.symmetry.group)
        steps = torch.as_tensor(self.steps, dtype=torch.float64)
        return steps.expand(self.symmetry.group.count) if steps.ndim == 0 else steps


def _square(found: Derivatives, symmetry: Symmetry, x: Any) -> dict[str, Tensor]:
    """Square what was found, sample by sample: (B, K) of error, change and field, (B,) of power, (B, D) of the mean."""
    y = replace_leaves(found.layout, found.values)
    symmetry.bind(x, y)
    rows, moving = Rows.of(x), dict(symmetry.output.moving)
    values: dict[str, Tensor] = {}
    for path, answer in found.values.items():
        if not answer.ndim:
            continue
        change, pool = found.slopes[path].double(), partial(rows.pool, path=path)
        action = moving.get(path)
        field = torch.zeros_like(change) if action is None else action.lie(symmetry.group, get_leaf(y, path)).double()
        flat = as_rows(answer.double())
        squares = {"error": change - field, "change": change, "field": field}
        values |= {f"{name} {path}": pool(_features(v).square().sum(2)) for name, v in squares.items()}
        values[f"abs {path}"] = pool(_features(change - field).abs().mean(2))
        values[f"power {path}"] = pool(flat.square().sum(1))
        # the content of a grid always moves, and its mean is as large as itself
        if not isinstance(action, GridAction):
            values[f"mean {path}"] = pool(flat)
    if not values:
        raise ActionMismatch("no output with numbers for each sample", "at least one", "Return what the loss is of.")
    return values


def _features(t: Tensor) -> Tensor:
    return t.flatten(2) if t.ndim > 2 else t.unsqueeze(2)


def reference_steps(group: Group) -> Tensor:
    """Choose a step of a size that people can picture: ten degrees for rotations, 0.1 for anything else.

    Args:
        group: Bound to its dimension.

    Returns:
        (K,) coefficients, float64.

    Example:
        >>> from lightning_symmetry.groups import SE
        >>> [round(float(step), 3) for step in reference_steps(SE(2))]
        [0.175, 0.1, 0.1]
    """
    steps = torch.full((group.count,), _STEP, dtype=torch.float64)
    space = group.part("space")
    if space is None or not space.linear:
        return steps
    basis = space.basis().detach().to("cpu", torch.float64)
    linear = basis[:, :-1, :-1] if space.affine else basis
    size = linear.flatten(1).norm(dim=1)
    skew = (linear + linear.mT).flatten(1).norm(dim=1) <= 1e-6 * size
    steps[torch.tensor(group.columns("space"))[skew & (size > 0)]] = _TURN
    return steps
