"""How much of a symmetry is left: the error between 0 and 1, beside that of answers that have nothing in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
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
    measure_gap,
    measuring,
)
from lightning_symmetry.paths import get_leaf, replace_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetry import Symmetry

# Of rounding, in steps of the answers' own type: a sample whose answer is smaller, relative to its batch, is 0.
_ROUNDING = 10
# An element that moves unit vectors by less is the identity.
_STILL = 1e-6


@final
class ApproximateSymmetryLevel(SymmetryMetric):
    """How far a map is from a symmetry, on a scale from "exact" to "nothing in common".

    With ``d(a, b) = |a - b| / (|a| + |b|)``, between 0 and 1 for every sample, the keys are

    - "error": ``E d(f(g x), g f(x))`` over samples x and elements g, the published level;
    - "null": ``E d(f(g x), g f(x'))`` with x' another sample of the same batch and device, along a random ring; the
      identity of a finite group adds 0, as it does to the error of every map;
    - "level": error / null: 0 for an exact symmetry, about 1 where f(g x) is no nearer to g f(x) than to what belongs
      to another sample. Unlike the error it does not reward answers that share a large constant;
    - "floor": ``E d(f(g^-1 g x), g^-1 g f(x))``, where pixels are read between or boxes are hulls: what carrying the
      sample there and back costs, whatever the map. An error below it says nothing.

    d compares all numbers of a sample at once; two answers of 0 are equal. Outputs whose action is `label` or `mask`
    are compared as logits less their mean over the classes, axis 1. Softmax depends on no more, and d does not change
    with their temperature; probabilities would agree the better the more confident a classifier is, symmetric or not.

    Of several outputs each has keys of its own, ``error/<path>``; "error", "null" and "floor" are their means, and
    "level" is the quotient of these. A graph is one sample, all its rows together, and the rows of the graph that it is
    paired with are repeated as needed. Batches of a single sample have no null; it is NaN where there are no others.

    Args:
        symmetry: Group, law and actions; a sentence or a mapping will do.
        n: Draws a sample; None takes every element of a finite group once.
        seed: Of the draws, which depend on it, the number of the batch and the global row alone.
        folds: Of the standard errors.

    Raises:
        InvalidSetting: There is no draw.

    Cost: n + 1 forwards; n more where there is a floor.

    References:
        Kim, Lee, Yang and Lee, Regularizing towards soft equivariance under mixed symmetries, arXiv 2306.00356.

    Example:
        >>> metric = ApproximateSymmetryLevel("C2 on vector(2) -> scalar", n=None)
        >>> metric.update(lambda x: 2 + x[:, 0], torch.tensor([[1.0, 0.0], [0.5, 0.0]]))
        >>> {key: round(float(value), 3) for key, value in metric.compute().items() if not key.endswith("_se")}
        {'error': 0.188, 'null': 0.19, 'level': 0.984}
    """

    def __init__(self, symmetry: Any, n: int | None = 4, seed: int = 0, folds: int = 16) -> None:
        super().__init__(folds)
        if n is not None and n < 1:
            raise InvalidSetting(f"n={n}", "at least one draw, or None for all elements", "Try 4.")
        self.symmetry = Symmetry.of(symmetry)
        self.n, self.seed = n, seed

    def update(self, f: Map, x: Any) -> None:
        """Measure a map on samples.

        Args:
            f: Map that treats samples independently, in evaluation mode.
            x: Input structure of B samples.
        """
        with measuring():
            symmetry, rows, batch = self.symmetry.bind(x), Rows.of(x), self.next_batch()
            drawn = draw_elements(symmetry, x, self.n, self.seed, batch)
            y = f(x)
            symmetry.bind(x, y)
            outputs = find_answers(y, "Return what the loss is of.")
            # a stream of its own, so that partners do not depend on elements
            ring = Rng(~self.seed, *batch).uniform(len(symmetry.leading(x)), dtype=torch.float64).argsort()
            distances = {path: self._measure_with(y, path, rows) for path in outputs}
            values: dict[str, Tensor] = {}
            for draw, (g, weight) in enumerate(drawn):
                answer, expected = f(symmetry.move_input(g, x)), symmetry.move_output(g, y, rows)
                # no map could break what the identity does, so that it counts for nothing in the null as well
                moves = (measure_gap(g, weight, ("space", "nodes", "values")).abs().amax(1) > _STILL).to(weight)
                partners = {path: _find_partners(rows, len(leaf), path, ring, draw) for path, leaf in outputs.items()}
                others = replace_leaves(y, {path: outputs[path][row] for path, (row, _) in partners.items()})
                strange = symmetry.move_output(g, others, rows)
                for path, measure in distances.items():
                    paired = weight * partners[path][1].to(weight)
                    add_term(values, f"error {path}", weight * measure(answer, expected))
                    add_term(values, f"null {path}", paired * moves * measure(answer, strange))
                    add_term(values, f"pairs {path}", paired)
                if self._has_floor:
                    there = f(symmetry.move_input(~g, symmetry.move_input(g, x)))
                    back = symmetry.move_output(~g, expected, rows)
                    for path, measure in distances.items():
                        add_term(values, f"floor {path}", weight * measure(there, back))
            self.accumulate(values, assign_folds(x, symmetry))

    @property
    def _has_floor(self) -> bool:
        sides = (self.symmetry.input, self.symmetry.output)
        return any(not action.exact for side in sides for _, action in side.moving)

    def _measure_with(self, y: Any, path: str, rows: Rows) -> Callable[[Any, Any], Tensor]:
        """Make the distance d of two outputs, (B,), at one of their leaves."""
        pool = partial(rows.pool, path=path)
        sizes = pool(self._read(y, path).square().mean(1))
        least = _ROUNDING * torch.finfo(get_leaf(y, path).dtype).eps * sizes.mean().sqrt()

        def measure(a: Any, b: Any) -> Tensor:
            one, other = self._read(a, path), self._read(b, path)
            gap, left, right = (pool(t.square().mean(1)).sqrt() for t in (one - other, one, other))
            return gap / torch.maximum(left + right, least).clamp_min(torch.finfo(gap.dtype).tiny)

        return measure

    def _read(self, y: Any, path: str) -> Tensor:
        """Take what is compared out of an output: one row for each of its rows."""
        leaf, action = get_leaf(y, path).double(), dict(self.symmetry.output.moving).get(path)
        if action is not None:
            leaf = action.compared(leaf)
        # a map (B, H, W) has no axis of classes, and a single number is a logit beside 0
        if has_classes(self.symmetry, path) and leaf.ndim > 1 + (action is not None) * 2 and leaf.shape[1] > 1:
            leaf = leaf - leaf.mean(1, keepdim=True)
        return as_rows(leaf)

    def summarise(self, sums: Mapping[str, Tensor], count: Tensor) -> dict[str, Tensor]:
        """Divide."""
        paths = [name.removeprefix("error ") for name in sums if name.startswith("error ")]
        means: dict[str, dict[str, Tensor]] = {}
        for path in paths:
            null = sums[f"null {path}"] / sums[f"pairs {path}"]
            means[path] = {"error": sums[f"error {path}"] / count, "null": null}
            if f"floor {path}" in sums:
                means[path]["floor"] = sums[f"floor {path}"] / count
        overall = {kind: torch.stack([part[kind] for part in means.values()]).mean(0) for kind in means[paths[0]]}
        found = _divide(overall)
        for path, part in means.items() if len(paths) > 1 else ():
            found |= {join_keys(kind, path, paths): value for kind, value in _divide(part).items()}
        return found


def _divide(means: dict[str, Tensor]) -> dict[str, Tensor]:
    error, null = means["error"], means["null"]
    return {"error": error, "null": null, "level": torch.where(error == 0, 0.0, error / null), **means}


def _find_partners(rows: Rows, size: int, path: str, ring: Tensor, draw: int) -> tuple[Tensor, Tensor]:
    """Pair the samples: each with one further on in a ring of those that have rows, by another step in every draw.

    Args:
        rows: Of the input.
        size: Rows R of a tensor.
        path: Where it lies.
        ring: (B,), the samples in a random order.
        draw: Number of the draw.

    Returns:
        (R,), for every row one of its sample's partner; (B,) whether a sample has a partner, 1 or 0.
    """
    owner = rows.owner(size, path)
    owner = torch.arange(size) if owner is None else owner.cpu()
    counts = torch.bincount(owner, minlength=len(ring))
    ring = ring[counts[ring] > 0]
    paired = (counts > 0).double() * (len(ring) > 1)
    step = 1 + draw % max(len(ring) - 1, 1)
    partner = torch.zeros_like(counts).index_put((ring,), ring.roll(-step))
    order, first = owner.argsort(stable=True), counts.cumsum(0) - counts
    place = torch.empty_like(owner).index_put((order,), torch.arange(size)) - first[owner]
    other = partner[owner]
    return order[first[other] + place % counts[other].clamp_min(1)], paired
