"""The equivariance error of larger and larger transformations, beside its slope at the identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.residuals import as_rows
from lightning_symmetry.metrics.base import (
    Map,
    SymmetryMetric,
    assign_folds,
    differentiating,
    join_keys,
    measuring,
    name_keys,
)
from lightning_symmetry.paths import find_leaves, get_leaf
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetrization import lie_derivative
from lightning_symmetry.symmetry import Symmetry


@final
class EquivarianceCurve(SymmetryMetric):
    """The error over the size of the transformation: ``EE_k(t) = E| f(exp(t e_k) x) - exp(t e_k) f(x) |``.

    Its slope at 0 is the mean size of the Lie derivative, ``E|L_k f|``. Keys are ``<generator>/<t>`` and
    ``<generator>/slope``, with ``/<path>`` behind where there are several outputs. The error of a graph is the root of
    its rows' mean square.

    Args:
        symmetry: Group and actions; a sentence or a mapping will do.
        ts: Sizes t, in units of the coefficients: radians for rotations.
        derivative: Of content on grids: "spectral", "central" or "bilinear"; None leaves it to the actions.
        backend: How f is differentiated, see `differentiate`.
        names: Of the generators; by default they are counted.
        folds: Of the standard errors.

    Raises:
        InvalidSetting: There is no size.

    Cost: K T forwards for T sizes, and K with their tangents.

    Example:
        >>> metric = EquivarianceCurve("SO(2) on vector(2) -> scalar", ts=[0.1], names=["rotation"])
        >>> metric.update(lambda x: x[:, 0], torch.tensor([[0.0, 1.0], [0.0, 2.0]]))
        >>> {key: round(float(value), 4) for key, value in metric.compute().items() if "_se" not in key}
        {'rotation/0.1': 0.1498, 'rotation/slope': 1.5}
    """

    def __init__(
        self,
        symmetry: Any,
        ts: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0),
        derivative: str | None = None,
        backend: str = "auto",
        names: Sequence[str] | None = None,
        folds: int = 16,
    ) -> None:
        super().__init__(folds)
        if not ts:
            raise InvalidSetting("no size t", "at least one", "For example (0.01, 0.1, 1.0).")
        self.symmetry = Symmetry.of(symmetry)
        self.ts, self.derivative, self.backend, self.names = list(ts), derivative, backend, names

    def update(self, f: Map, x: Any) -> None:
        """Measure a map on samples.

        Args:
            f: Map that treats samples independently, in evaluation mode.
            x: Input structure of B samples.

        Raises:
            InvalidSetting: The group has no generators.
        """
        with measuring(), differentiating(self.symmetry, self.derivative):
            symmetry, rows = self.symmetry.bind(x), Rows.of(x)
            count = symmetry.group.count
            name_keys(self.names, symmetry.group, count)
            y, slopes = f(x), find_leaves(lie_derivative(f, x, symmetry, self.backend))
            symmetry.bind(x, y)
            paths = [path for path, leaf in find_leaves(y).items() if leaf.is_floating_point() and leaf.ndim]
            values: dict[str, list[Tensor]] = {path: [] for path in paths}
            leading = symmetry.leading(x)
            # one row of coordinates for all samples: generator by generator, size by size
            table = torch.eye(count).unsqueeze(1) * torch.tensor(self.ts).unsqueeze(1)
            for coordinates in table.flatten(0, 1).to(
                leading.device, torch.promote_types(leading.dtype, torch.float32)
            ):
                g = symmetry.group.exp(coordinates.unsqueeze(0))
                answer, expected = f(symmetry.move_input(g, x)), symmetry.move_output(g, y, rows)
                for path, leaf in find_leaves(answer).items():
                    if path in values:
                        gap = as_rows(leaf.double() - get_leaf(expected, path).double())
                        values[path].append(rows.pool(gap.square().sum(1), path).sqrt())
            statistics: dict[str, Tensor] = {}
            for path in paths:
                pool = partial(rows.pool, path=path)
                slope = slopes[path].double()
                flat = slope.flatten(2) if slope.ndim > 2 else slope.unsqueeze(2)
                statistics[f"curve {path}"] = torch.stack(values[path], 1).unflatten(1, (count, len(self.ts)))
                statistics[f"slope {path}"] = pool(flat.square().sum(2)).sqrt()
            self.accumulate(statistics, assign_folds(x, symmetry))

    def summarise(self, sums: Mapping[str, Tensor], count: Tensor) -> dict[str, Tensor]:
        """Divide."""
        paths = [name.removeprefix("curve ") for name in sums if name.startswith("curve ")]
        names = name_keys(self.names, self.symmetry.group, self.symmetry.group.count)
        found: dict[str, Tensor] = {}
        for path in paths:
            curve, slope = sums[f"curve {path}"], sums[f"slope {path}"]
            for k, name in enumerate(names):
                for i, t in enumerate(self.ts):
                    found[join_keys(f"{name}/{t:g}", path, paths)] = curve[:, k, i] / count
                found[join_keys(f"{name}/slope", path, paths)] = slope[:, k] / count
        return found
