"""The group axioms of declared actions, tried on real data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from lightning_symmetry.actions import Action
from lightning_symmetry.exceptions import AxiomViolation, DimensionMismatch
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Element, Group
from lightning_symmetry.rows import Rows


def check_axioms(
    parts: Sequence[tuple[str, Action, Tensor]],
    group: Group,
    pair: tuple[Element, Element],
    rows: Rows,
    rng: Rng,
    tolerance: float = 1e-4,
) -> None:
    """Check identity, inverse and composition, for drawn elements and for elements of the group's finite part.

    The power of an element of the finite part by the part's order must be the identity too. What is read between
    pixels, or only bounds what it moves, cannot be carried forth and back exactly (``Action.exact``): there only those
    that should be the identity are tried.

    Args:
        parts: Path, action and tensor of everything that moves; at least one.
        group: Whose finite part is tried; it knows the dimensions of the data.
        pair: Two batches of B elements.
        rows: Which of the B samples the tensors' rows belong to.
        rng: Source of the elements of the finite part.
        tolerance: Largest accepted relative difference.

    Raises:
        AxiomViolation: An axiom fails; it says which and by how much.
    """
    g, _ = pair
    identities, pairs = {"identity": g @ ~g}, [pair]
    a, b = (group.draw_finite(rng, len(g), device=parts[0][2].device) for _ in range(2))
    if a is not None and b is not None:
        pairs.append((a, b))
        if (order := _order(group)) is not None:
            identities[f"order ({order})"] = _power(a, order)
    for path, action, leaf in parts:
        # in a batch of graphs whole numbers name nodes, which are not reordered
        if leaf.is_floating_point() or not rows.are_ragged:
            for axiom, left, right in _try(action, leaf, path, rows, identities, pairs if action.exact else []):
                _compare(axiom, left, right, action, path, tolerance)


def _try(
    action: Action,
    leaf: Tensor,
    path: str,
    rows: Rows,
    identities: dict[str, Element],
    pairs: list[tuple[Element, Element]],
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Apply both sides of every axiom: its name, and what should be equal."""

    def act(g: Element, data: Tensor) -> Tensor:
        return action.act(rows.spread(g, len(data), path), data)

    yield from ((axiom, act(g, leaf), leaf) for axiom, g in identities.items())
    for g, h in pairs:
        yield "inverse", act(~g, act(g, leaf)), leaf
        yield "composition", act(g @ h, leaf), act(g, act(h, leaf))


def _compare(axiom: str, left: Tensor, right: Tensor, action: Action, path: str, tolerance: float) -> None:
    left, right = left.double(), right.double()
    error = float((left - right).norm() / right.norm().clamp_min(1e-12))
    if not error <= tolerance:
        raise AxiomViolation(
            got=f"a relative error of {error:.2g} in the {axiom} axiom of {action.sentence!r} at {path!r}",
            expected=f"at most {tolerance:g}",
            remedy="The declared action is not a representation of the group; correct it before any score.",
        )


def _order(group: Group) -> int | None:
    """Number of elements of the finite part; None where they are too many to list, or no group."""
    try:
        return len(group.discrete) if group.closed and group.discrete is not None else None
    except DimensionMismatch:
        return None


def _power(g: Element, n: int) -> Element:
    """Compose an element with itself n > 0 times, by squaring."""
    if n == 1:
        return g
    half = _power(g, n // 2)
    return half @ half @ g if n % 2 else half @ half
