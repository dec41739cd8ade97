"""Conjugating a map by group elements, and its derivative along the group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.exceptions import ActionMismatch
from lightning_symmetry.groups import Element
from lightning_symmetry.paths import find_leaves, get_leaf, replace_leaves
from lightning_symmetry.symmetry import Symmetry

Map = Callable[[Any], Any]


def conjugate(f: Map, g: Element | Tensor, symmetry: Symmetry) -> Map:
    """Move the input by g, apply f, and move the output back.

    conjugate(f, g)(x) = rho_out(g^-1) f(rho_in(g) x), which equals f(x) for every g exactly when f has the symmetry.

    Args:
        f: Map from an input structure of B rows to an output structure of B rows.
        g: B elements, or a raw (B, d, d) tensor.
        symmetry: How they act.

    Returns:
        A map of the same kind.

    Example:
        >>> turn = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
        >>> symmetry = Symmetry.parse("SO(2) on vector -> vector")
        >>> conjugate(lambda x: 2 * x, turn, symmetry)(torch.tensor([[1.0, 0.0]]))
        tensor([[2., 0.]])
    """

    def conjugated(x: Any) -> Any:
        symmetry.bind(x)
        element = symmetry.element(g)
        y = f(symmetry.move_input(element, x))
        symmetry.bind(x, y)
        return symmetry.move_output(~element, y)

    return conjugated


def lie_derivative(f: Map, x: Any, symmetry: Symmetry, method: str = "jvp", step: float = 1e-3) -> Any:
    """Differentiate the conjugate of f along every generator, at the identity.

    (L_k f)(x) = d/dt rho_out(exp(-t e_k)) f(rho_in(exp(t e_k)) x) at t = 0 = Df(x) v_k(x) - w_k(f(x)),

    where v_k and w_k are the vector fields of generator k on the input and on the output. It vanishes for every k
    exactly when f has the symmetry on the connected group. All K generators go through f in one batch of K * B rows.

    Args:
        f: Map that treats rows independently (batch-norm in evaluation mode).
        x: Input structure of B rows.
        symmetry: Group and actions.
        method: "jvp" (exact; needs forward-mode derivatives of everything in f) or "difference" (central).
        step: Step of the central difference, in units of the group's coefficients.

    Returns:
        The output's structure, each moving or plain leaf of shape (B, K, ...).

    Raises:
        ActionMismatch: ``method`` is unknown.

    References:
        Gruver et al., The Lie derivative for measuring learned equivariance, arXiv 2210.02984, eq. 3.

    Example:
        >>> symmetry = Symmetry.parse("SO(2) on vector -> scalar")
        >>> x = torch.tensor([[3.0, 4.0]])
        >>> lie_derivative(lambda x: x.square().sum(-1), x, symmetry).abs().max() < 1e-5
        tensor(True)
    """
    if method not in ("jvp", "difference"):
        raise ActionMismatch(f"method {method!r}", "'jvp' or 'difference'", "Use 'difference' where f lacks jvp.")
    symmetry.bind(x)
    group, rows = symmetry.group, len(symmetry.leading(x))
    count = group.count
    tangents = {path: action.lie(group, get_leaf(x, path)) for path, action in symmetry.input.moving}
    repeated = replace_leaves(
        x, {p: t.repeat_interleave(count, 0) for p, t in find_leaves(x).items() if t.ndim and len(t) == rows}
    )
    points = {path: get_leaf(repeated, path) for path in tangents}
    directions = {path: t.flatten(0, 1) for path, t in tangents.items()}
    layout: list[Any] = []

    def evaluate(moved: dict[str, Tensor]) -> dict[str, Tensor]:
        y = f(replace_leaves(repeated, moved))
        layout[:] = [y]
        return find_leaves(y)

    if method == "jvp":
        values, slopes = torch.func.jvp(evaluate, (points,), (directions,))[:2]
    else:
        ahead, behind = (evaluate({p: points[p] + sign * step * directions[p] for p in points}) for sign in (1.0, -1.0))
        slopes = {path: (ahead[path] - behind[path]) / (2 * step) for path in ahead}
        values = evaluate(points)
    slopes = {path: slope.unflatten(0, (rows, count)) for path, slope in slopes.items()}
    y = replace_leaves(layout[0], {path: value[::count] for path, value in values.items()})
    symmetry.bind(x, y)
    for path, action in symmetry.output.moving:
        slopes[path] = slopes[path] - action.lie(group, get_leaf(y, path))
    return replace_leaves(layout[0], slopes)
