"""What is told of every family at the end: how far the network is from it, and what the multiplier says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from lightning_symmetry.discovery import SymmetryLevel, judge_levels
from lightning_symmetry.functional.distributed import sum_over_ranks
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.residuals import as_rows
from lightning_symmetry.methods.dual.families import Geometric
from lightning_symmetry.methods.dual.family import Family
from lightning_symmetry.paths import find_leaves
from lightning_symmetry.rows import Rows


@dataclass(frozen=True)
class _Named:
    name: str
    sentence: str


def judge_families(
    families: Sequence[Family],
    found: Sequence[Mapping[str, float]],
    readings: Mapping[str, Sequence[float]],
    curves: Mapping[str, Sequence[float]],
) -> list[SymmetryLevel]:
    """Judge families as symmetries are judged, see `judge_levels`.

    Args:
        families: K of them.
        found: As `measure_violations` gives it.
        readings: Of the balancer.
        curves: Over training.
    """
    named = [_Named(f.name, f.symmetry.sentence if isinstance(f, Geometric) else f.name) for f in families]
    return list(judge_levels(cast(Any, named), found, readings, curves))


def measure_violations(
    families: Sequence[Family],
    f: Callable[[Any], Any],
    inputs: Sequence[Any],
    rng: Callable[[int], Rng],
    logits: bool,
    device: torch.device,
) -> list[dict[str, float]]:
    """Measure how much answers change when inputs are moved, by draws of every family's own law.

    With d(a, b) = |a - b| / (|a| + |b|) a sample, "error" is the mean of d between the answer to a moved input, moved
    back, and that to the input; "null" that between the answers to two different inputs.

    Args:
        families: K of them, bound to inputs and outputs.
        f: The network, in evaluation mode.
        inputs: Held out.
        rng: Source of randomness for each of them.
        logits: Whether answers are compared less their mean over axis 1, on which softmax does not depend.
        device: Where ranks communicate.

    Returns:
        "error", "error_se" and "null" of every family, over all ranks.
    """
    # there are no doubles on Apple's devices
    place = torch.device("cpu") if device.type == "mps" else device
    sums = torch.zeros(len(families), 5, dtype=torch.float64, device=place)
    for i, x in enumerate(inputs):
        rows, y, source = Rows.of(x), f(x), rng(i)
        for k, family in enumerate(families):
            moves = family.draw(x, source)
            moved = family.back(moves, f(family.move(moves, x)), rows)
            a, b = _read(moved, rows, logits), _read(y, rows, logits)
            gaps, others = _distance(a, b), _distance(b, b.roll(1, 0)) if len(b) > 1 else b.new_zeros(0)
            parts = [
                gaps.sum(),
                gaps.square().sum(),
                gaps.new_tensor(len(gaps)),
                others.sum(),
                gaps.new_tensor(len(others)),
            ]
            sums[k] += torch.stack(parts).to(place)
    found = []
    for total, squares, count, other, pairs in sum_over_ranks(sums).tolist():
        mean = total / count
        spread = max(squares / count - mean**2, 0.0) / max(count - 1, 1)
        found.append({"error": mean, "error_se": spread**0.5, "null": other / pairs if pairs else float("nan")})
    return found


def _read(y: Any, rows: Rows, logits: bool) -> Tensor:
    """Lay all numbers of a sample's answer in one row."""
    parts = []
    for path, leaf in find_leaves(y).items():
        if leaf.ndim and leaf.is_floating_point():
            values = leaf.double()
            if logits and leaf.ndim > 1 and leaf.shape[1] > 1:
                values = values - values.mean(1, keepdim=True)
            parts.append(rows.pad(as_rows(values), path).flatten(1))
    return torch.cat(parts, 1)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    sizes = a.norm(dim=1) + b.norm(dim=1)
    return (a - b).norm(dim=1) / sizes.clamp_min(torch.finfo(a.dtype).tiny)
