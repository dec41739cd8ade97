"""What data can say of generators: their action on the span of the data, and nothing beyond."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.actions import Points, Vector
from lightning_symmetry.discovery.assembly import SPAN_TOLERANCE
from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.functional.residuals import as_rows
from lightning_symmetry.functional.spans import orthonormal_span, principal_cosines
from lightning_symmetry.groups import Group
from lightning_symmetry.paths import get_leaf
from lightning_symmetry.symmetry import Symmetry

# Directions in which the data vary less than this share of the widest are rounding.
_DEGENERATE = 1e-3


def data_span(symmetry: Symmetry, x: Any, y: Any) -> Tensor | None:
    """Project onto the span of everything that a linear group moves.

    Args:
        symmetry: Bound to the pair.
        x: Input structure.
        y: Output structure.

    Returns:
        (n, n) orthogonal projector, n the size of the generators, float64; None where the data fill the space, or where
        something else than vectors and points moves.
    """
    group = symmetry.group
    moving = [(action, get_leaf(tree, path)) for side, tree in ((symmetry.input, x), (symmetry.output, y))
              for path, action in side.moving]  # fmt: skip
    if not group.linear or group.dim is None or not all(isinstance(a, (Vector, Points)) for a, _ in moving):
        return None
    rows = []
    for action, leaf in moving:
        vectors = as_rows(leaf.detach()).to("cpu", torch.float64).reshape(-1, group.dim)
        if group.affine:
            # points are translated, vectors are not
            vectors = torch.nn.functional.pad(vectors, (0, 1), value=float(isinstance(action, Points)))
        rows.append(vectors)
    stacked = torch.cat(rows)
    _, sizes, axes = torch.linalg.svd(stacked.mT @ stacked)
    kept = sizes.sqrt() > _DEGENERATE * sizes[0].sqrt()
    return None if bool(kept.all()) else axes[kept].mT @ axes[kept]


def represent(basis: Tensor, span: Tensor | None, pattern: Tensor) -> Tensor:
    """Choose, among all generators that act alike on the data, the shortest that the block mask allows.

    L' = argmin ||L'||_F subject to L' P = L P and to the mask; L' = L P where everything is free.

    Args:
        basis: (K, n, n) generators.
        span: Projector P; None where the data fill the space.
        pattern: (n, n), the mask.

    Returns:
        (K, n, n), float64.
    """
    basis = basis.detach().to("cpu", torch.float64)
    if span is None:
        return basis
    acting, found = basis @ span, torch.zeros_like(basis)
    for row, free in enumerate(pattern.to("cpu") > 0):
        found[:, row, free] = acting[:, row] @ torch.linalg.pinv(span[free], rtol=1e-9)
    return found


def on_span(basis: Tensor, span: Tensor | None) -> Tensor:
    """Restrict generators to the data, L P, and scale them to norm 1: all that two generators can be compared by."""
    acting = basis.detach().to("cpu", torch.float64)
    acting = acting if span is None else acting @ span
    return acting / torch.linalg.vector_norm(acting.flatten(1), dim=1).clamp_min(1e-30).reshape(-1, 1, 1)


def restrict_truth(truth: Any, group: Group, span: Tensor | None) -> Any:
    """Restrict what is known to the data as well.

    Args:
        truth: A symmetry, a group, a basis, or None.
        group: Of the generators found.
        span: Projector, or None.

    Returns:
        A basis (M, n, n) where there is something to restrict, else the truth as it is.
    """
    if truth is None or span is None:
        return truth
    known = truth
    if not isinstance(truth, Tensor):
        own = copy.deepcopy(truth.group if isinstance(truth, Symmetry) else truth)
        try:
            known = own.bind(group.dim).coefficients()
        except DimensionMismatch:
            return truth
    if known.ndim != 3 or known.shape[1:] != span.shape:
        return truth
    return known.detach().to("cpu", torch.float64) @ span


def measure_spread(bases: Sequence[Tensor]) -> float:
    """Measure how far the spans that several seeds found lie apart.

    Args:
        bases: (K, ...) generators of each seed.

    Returns:
        The largest principal angle between any two spans, in degrees; 0 for one seed, 90 where their dimensions differ.

    Example:
        >>> turn, scale = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]]), torch.eye(2)[None]
        >>> round(measure_spread([turn, -2 * turn]), 3), round(measure_spread([turn, turn + scale]), 3)
        (0.0, 45.0)
    """
    spans = [orthonormal_span(basis, SPAN_TOLERANCE) for basis in bases]
    largest = 0.0
    for index, one in enumerate(spans):
        for other in spans[:index]:
            alike = len(one) == len(other)
            least = float(principal_cosines(one, other).min()) if alike and len(one) else float(alike)
            largest = max(largest, math.degrees(math.acos(min(least, 1.0))))
    return largest
