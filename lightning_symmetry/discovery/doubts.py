"""What is asked of a map before anything is read out of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.differentiation import Map, differentiate
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.precision import widen
from lightning_symmetry.paths import find_leaves, replace_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetrization import input_tangents
from lightning_symmetry.symmetry import Symmetry

_ROWS = 8
# Shares of the answers, or of the derivatives, from which on two of them are different.
_DIFFERENT, _DISAGREE = 0.05, 0.5


def question(f: Map, x: Any, symmetry: Symmetry, backend: str) -> tuple[str, ...]:
    """Ask a map twice, by itself and in company, and compare its derivatives with differences, on a few samples.

    Args:
        f: The map.
        x: Input structure of B samples.
        symmetry: Bound to it.
        backend: Of the derivatives.

    Returns:
        Sentences on what does not agree.

    Raises:
        InvalidSetting: The answer to a sample changes from call to call, or with the others of its batch.
    """
    rows = len(symmetry.leading(x))
    if Rows.of(x).are_ragged or rows < 2:
        return ()
    few = _cut(x, rows, min(rows, _ROWS))
    with torch.no_grad():
        first, again, alone = f(few), f(few), f(_cut(few, min(rows, _ROWS), min(rows, _ROWS) // 2))
    for other, change in ((again, "from call to call"), (alone, "with the other samples of its batch")):
        if _differ(find_leaves(first), find_leaves(other)) > _DIFFERENT:
            raise InvalidSetting(
                got=f"a map whose answer to a sample changes {change}",
                expected="one that answers every sample for itself, always the same",
                remedy="Put the network into evaluation mode (dropout, batch-norm), and fix its noise.",
            )
    if backend == "difference":
        return ()
    tangents = input_tangents(few, symmetry)
    exact, rough = (differentiate(f, few, tangents, one).slopes for one in (backend, "difference"))
    if _differ(exact, rough) > _DISAGREE:
        return (
            "Derivatives and differences of the map disagree: something in it is detached, rounded or has many kinks. "
            "Compare with backend='difference'.",
        )
    return ()


def _cut(x: Any, rows: int, count: int) -> Any:
    return replace_leaves(x, {p: t[:count] for p, t in find_leaves(x).items() if t.ndim and len(t) == rows})


def _differ(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest relative difference of the rows that both have."""
    worst = 0.0
    for path, a in one.items():
        b = other.get(path)
        if b is None or not a.is_floating_point() or not a.ndim or a.shape[1:] != b.shape[1:]:
            continue
        a, b = widen(a[: len(b)]), widen(b)
        size = torch.maximum(a.norm(), b.norm())
        if bool(size.isfinite()) and float(size) > 0:
            worst = max(worst, float((a - b).norm() / size))
    return worst
