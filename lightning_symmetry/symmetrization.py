"""Conjugating a map by group elements, averaging over them, and the derivative along the group."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.differentiation import differentiate, repeat_rows
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.precision import widen
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Element
from lightning_symmetry.paths import find_leaves, get_leaf, replace_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetry import Symmetry

Map = Callable[[Any], Any]


def conjugate(f: Map, g: Element | Tensor, symmetry: Symmetry) -> Map:
    """Move the input by g, apply f, and move the output back.

    conjugate(f, g)(x) = rho_out(g^-1) f(rho_in(g) x), which equals f(x) for every g exactly when f has the symmetry.

    Args:
        f: Map from an input structure of B samples to an output structure of B samples.
        g: B elements, or a raw (B, d, d) tensor; in a batch of graphs, one for each graph.
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
        return symmetry.move_output(~element, y, Rows.of(x))

    return conjugated


def average(f: Map, symmetry: Symmetry, n: int | None = None, rng: Rng | None = None, chunk: int = 1) -> Map:
    """Average the conjugates of f over the group.

    average(f)(x) = sum_j w_j rho_out(g_j^-1) f(rho_in(g_j) x).

    Over all elements of a finite group, or over a frame (`PCAFrames`, `PointFrames`, `Polar`), the result has the
    symmetry exactly whatever f is; over n draws from any other law its error falls as 1 / sqrt(n). The mean of logits
    is, after softmax, the geometric mean of the class probabilities, scaled to sum to 1.

    Args:
        f: Map that treats samples independently (batch-norm and dropout in evaluation mode).
        symmetry: The law of the elements, and how they act.
        n: Draws a sample; None, or at least as many as there are elements, takes each element once.
        rng: Source of the draws, by default ``Rng(0)``. The average is one fixed map: every call draws alike.
        chunk: Elements that go through f together, in one batch of ``chunk * B`` rows; graphs go one element at a time.

    Returns:
        A map of the same kind.

    Cost: n forwards of f; of memory, in evaluation, that of a single one (times ``chunk``).

    Raises:
        InvalidSetting: A number is not positive. When called: there are too many elements and n is None.
        ActionMismatch: When called: an output is no floating-point number a sample.

    Example:
        >>> symmetry = Symmetry.parse("C4 on vector(2) -> scalar")
        >>> average(lambda x: x[:, :1] ** 2, symmetry)(torch.tensor([[3.0, 1.0]]))
        tensor([[5.]])
    """
    if chunk < 1 or (n is not None and n < 1):
        raise InvalidSetting(f"n={n}, chunk={chunk}", "positive numbers", "Pass n=None for all elements.")
    source = rng or Rng(0)

    def averaged(x: Any) -> Any:
        g, weights = _list_or_draw(symmetry, x, n, copy.copy(source))
        samples, count = weights.shape
        rows = Rows.of(x)
        together = 1 if rows.are_ragged else chunk
        means: dict[str, Tensor] = {}
        for first in range(0, count, together):
            share = weights[:, first : first + together]
            size = share.shape[1]
            index = torch.arange(samples * count, device=weights.device).unflatten(0, (samples, count))
            chosen = index[:, first : first + size].flatten()
            y = conjugate(f, g[chosen], symmetry)(repeat_rows(x, samples, size) if size > 1 else x)
            for path, leaf in find_leaves(y).items():
                means[path] = means.get(path, 0) + _weigh(leaf, path, share, rows)
        return replace_leaves(y, {path: mean.to(get_leaf(y, path).dtype) for path, mean in means.items()})

    return averaged


def _list_or_draw(symmetry: Symmetry, x: Any, n: int | None, rng: Rng) -> tuple[Element, Tensor]:
    listed = symmetry.support(x)
    if listed is not None and (n is None or n >= listed[1].shape[1]):
        return listed
    if n is None:
        raise InvalidSetting(
            f"the average over all of {symmetry.group.sentence} by {type(symmetry.sampler).__name__}",
            "a finite group or a frame",
            "Give the number of draws, n.",
        )
    return symmetry.sample(x, n, rng)


def _weigh(leaf: Tensor, path: str, weights: Tensor, rows: Rows) -> Tensor:
    """Sum an output over the elements of a chunk, (B, size) weights."""
    samples, size = weights.shape
    if not leaf.ndim or not leaf.is_floating_point() or (not rows.are_ragged and len(leaf) != samples * size):
        raise ActionMismatch(
            f"an output {path or 'tensor'} of {leaf.dtype}, {tuple(leaf.shape)}, for {samples * size} samples",
            "floating-point numbers, one row a sample: others have no mean",
            "Let the map return logits or values, and take classes after the average.",
        )
    # the one element of graphs is spread over their nodes
    share = rows.choose(weights[:, 0], len(leaf), path) if rows.are_ragged else weights.flatten()
    weighted = widen(leaf) * share.view(-1, *[1] * (leaf.ndim - 1))
    return weighted if size == 1 else weighted.unflatten(0, (samples, size)).sum(1)


def lie_derivative(f: Map, x: Any, symmetry: Symmetry, backend: str = "jvp", step: float | None = None) -> Any:
    """Differentiate the conjugate of f along every generator, at the identity.

    (L_k f)(x) = d/dt rho_out(exp(-t e_k)) f(rho_in(exp(t e_k)) x) at t = 0 = Df(x) v_k(x) - w_k(f(x)),

    where v_k and w_k are the vector fields of generator k on the input and on the output. It vanishes for every k
    exactly when f has the symmetry on the connected group. All K generators share one forward of f; differences go
    through it in batches of K * B rows, graphs, which cannot be repeated row by row, K times.

    Args:
        f: Map that treats rows independently (batch-norm in evaluation mode).
        x: Input structure of B samples.
        symmetry: Group and actions.
        backend: "jvp" (exact; needs forward-mode derivatives of everything in f), "vjp" (exact, reverse mode, for few
            outputs), "difference" (central) or "auto", see `differentiate`. Gradients flow on through the first and
            the third.
        step: Of the difference, relative to the size of a sample.

    Returns:
        The output's structure, each moving or plain leaf of shape (B, K, ...); (R, K, ...) for R nodes of graphs.

    Raises:
        ActionMismatch: The input holds nothing that moves continuously.
        InvalidSetting: ``backend`` is unknown or does not work for this map.

    References:
        Gruver et al., The Lie derivative for measuring learned equivariance, arXiv 2210.02984, eq. 3.

    Example:
        >>> symmetry = Symmetry.parse("SO(2) on vector -> scalar")
        >>> x = torch.tensor([[3.0, 4.0]])
        >>> lie_derivative(lambda x: x.square().sum(-1), x, symmetry).abs().max() < 1e-5
        tensor(True)
    """
    symmetry.bind(x)
    slopes = differentiate(f, x, input_tangents(x, symmetry), backend, step)
    y = replace_leaves(slopes.layout, slopes.values)
    symmetry.bind(x, y)
    found = dict(slopes.slopes)
    for path, action in symmetry.output.moving:
        found[path] = found[path] - action.lie(symmetry.group, get_leaf(y, path))
    return replace_leaves(slopes.layout, found)


def input_tangents(x: Any, symmetry: Symmetry) -> dict[str, Tensor]:
    """Differentiate the action on the input along every generator.

    Args:
        x: Input structure of B samples.
        symmetry: Bound to it.

    Returns:
        Path to (B, K, ...), for everything that moves continuously.

    Raises:
        ActionMismatch: Nothing does: whole numbers and classes cannot.
    """
    moving = {path: (action, get_leaf(x, path)) for path, action in symmetry.input.moving}
    floating = {path: pair for path, pair in moving.items() if pair[1].is_floating_point()}
    if not floating:
        raise ActionMismatch("an input of whole numbers alone", "floating-point data", "Name what moves continuously.")
    return {path: action.lie(symmetry.group, leaf) for path, (action, leaf) in floating.items()}
