"""The terms of the game, as published, and where two of them mislead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.actions import Points, Vector
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.precision import widen
from lightning_symmetry.functional.residuals import as_rows
from lightning_symmetry.groups import Group
from lightning_symmetry.paths import get_leaf
from lightning_symmetry.symmetry import Symmetry

IDENTITY = ("cosine", "rel_diff", "norm")
CHANNELS = ("inner", "killing")
_MANY = 7
# Share of the training after which a penalty that fades is gone.
FADED = 0.75


def fool(fake: Tensor) -> Tensor:
    """What the generators lose: - mean log D(gx, gy), the form that does not saturate.

    Args:
        fake: (B,) logits of moved pairs.
    """
    return F.softplus(-fake).mean()


def tell(real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator loses: - (mean log D(x, y) + mean log(1 - D(gx, gy))) / 2.

    Args:
        real: (B,) logits of pairs.
        fake: (B,) logits of moved pairs.
    """
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


def penalise_identity(
    before: Sequence[Tensor], after: Sequence[Tensor], group: Group, kind: str = "cosine", per_sample: bool = False
) -> Tensor:
    """Keep the generators away from zero, where nothing can be told from the data.

    ``cosine``: | mean cos(g v, v) | over all vectors v. Its mean is taken before its size, so that cosines of either
    sign cancel: it is least where orbits are spread evenly, which sets the *scale* of the generators, and it is blind
    to scalings, whose cosine is 1 whatever they do. ``per_sample`` takes mean | cos(g v, v) | instead, which has no
    such cancellation and prefers right angles.
    ``rel_diff``: - min( mean | (g x - x) / x |, 1 ) over all numbers but zeros; one number near zero outweighs all
    others, and once the bound is reached no slope is left.
    ``norm``: - min( ||L||_F, n c ) over all c generators of size n: it looks at no data, and is kind to scalings too.

    Args:
        before: (B, M, d) vectors of every tensor that moves.
        after: The same, moved.
        group: Whose elements moved them.
        kind: "cosine", "rel_diff" or "norm".
        per_sample: Take the size of every cosine before the mean.

    Returns:
        A scalar, at least -n c.
    """
    if kind == "norm":
        basis = group.coefficients()
        return -torch.linalg.vector_norm(basis).clamp_max(float(len(basis) * basis.shape[-1]))
    if kind == "rel_diff":
        old, new = (torch.cat([t.flatten() for t in each]) for each in (before, after))
        return -((new - old) / old)[old != 0].abs().mean().clamp_max(1.0)
    cosines = torch.cat([F.cosine_similarity(a, b, dim=2).flatten() for a, b in zip(after, before, strict=True)])
    return cosines.abs().mean() if per_sample else cosines.mean().abs()


def penalise_alike(group: Group, kind: str = "inner") -> Tensor:
    """Keep the generators apart, each scaled to ||L_i||_F = sqrt(n): it cannot be met by shrinking them.

    ``inner``: sum_{i<j} | <L_i, L_j> |. ``killing``: sum_{i<j} | tr(L_i L_j) - tr L_i tr L_j / n |, the Killing form of
    gl(n) up to 2 n; a pair of nilpotent generators costs nothing there.

    Args:
        group: With c generators of size n; entries that its mask holds at zero count as zero.
        kind: "inner" or "killing"; the latter needs matrices.

    Returns:
        A scalar, not negative.
    """
    basis = group.coefficients()
    size = basis.shape[-1]
    norms = torch.linalg.vector_norm(basis.flatten(1), dim=1)
    basis = basis * (size**0.5 / (norms + 1e-6))[:, None, None]
    if kind == "inner":
        products = basis.flatten(1) @ basis.flatten(1).mT
    else:
        traces = basis.diagonal(dim1=1, dim2=2).sum(1)
        products = torch.einsum("bij,cji->bc", basis, basis) - torch.outer(traces, traces) / size
    return torch.triu(products, diagonal=1).abs().sum()


def list_vectors(symmetry: Symmetry, x: Any) -> list[Tensor]:
    """List what the cosine looks at: the vectors and points of every moving tensor, of any other the whole sample.

    Args:
        symmetry: Bound to the input.
        x: Input structure.

    Returns:
        (B, M, d) for every tensor that moves, at least float32.
    """
    dim, vectors = symmetry.group.dim, []
    for path, action in symmetry.input.moving:
        rows = widen(as_rows(get_leaf(x, path)))
        each = dim if dim and isinstance(action, (Vector, Points)) else rows.shape[1]
        vectors.append(rows.unflatten(1, (-1, each)))
    return vectors


@final
@dataclass(frozen=True)
class Objective:
    """Which terms there are, and how strong.

    Args:
        identity: "cosine", "rel_diff" or "norm", see `penalise_identity`.
        identity_strength: lambda.
        fade: Let lambda fall from a quarter of the training on, to zero at three quarters: what it did to the scale is
            undone.
        per_sample: Take the size of every cosine before the mean.
        channels: "inner" or "killing", see `penalise_alike`.
        channel_strength: eta; by default 1, and 0.1 from seven generators on, as published. Where more than two are
            looked for, less is quicker: after 1600 batches the rotations of an ellipsoid were told from its data with
            an AUC of 0.56 at 1 and of 0.51 at 0.1.
        sparsity: mu, of ||L||_p.
        order: p.
        r1: Strength of the gradient penalty of the discriminator at the data, r1 / 2 mean |grad D|^2.

    Raises:
        InvalidSetting: A name does not exist, or a number is negative.
    """

    identity: str = "cosine"
    identity_strength: float = 1.0
    fade: bool = False
    per_sample: bool = False
    channels: str = "inner"
    channel_strength: float | None = None
    sparsity: float = 0.0
    order: float = 2.0
    r1: float = 0.0

    def __post_init__(self) -> None:
        for key, value, known in (("identity", self.identity, IDENTITY), ("channels", self.channels, CHANNELS)):
            if value not in known:
                raise InvalidSetting(f"{key}={value!r}", f"one of {', '.join(known)}", f"Use {known[0]!r} when unsure.")
        strengths = {key: getattr(self, key) for key in ("identity_strength", "channel_strength", "sparsity", "r1")}
        wrong = [f"{key}={value}" for key, value in strengths.items() if value is not None and value < 0]
        if wrong or self.order < 1:
            got = ", ".join(wrong) or f"order={self.order}"
            raise InvalidSetting(got, "no negative strength, and order >= 1", "Use 0 to leave a term out.")

    def has_faded(self, progress: float) -> bool:
        """Whether the penalties are what they will be in the end, at this share of the training."""
        return not self.fade or progress >= FADED

    def penalise(self, symmetry: Symmetry, x: Any, moved: Any, progress: float) -> dict[str, Tensor]:
        """Evaluate what the generators lose beside the game.

        Args:
            symmetry: Whose generators are learnt.
            x: Input structure.
            moved: The same, moved.
            progress: Share of the training that is over.

        Returns:
            Name to scalar, each with its strength; terms without strength are left out.
        """
        group, terms = symmetry.group, {}
        left = min(max(2 * (FADED - progress), 0.0), 1.0) if self.fade else 1.0
        if self.identity_strength * left:
            before, after = (list_vectors(symmetry, t) for t in (x, moved))
            penalty = penalise_identity(before, after, group, self.identity, self.per_sample)
            terms["identity"] = self.identity_strength * left * penalty
        usual = 0.1 if group.count >= _MANY else 1.0
        strength = usual if self.channel_strength is None else self.channel_strength
        if strength and group.count > 1:
            terms["channels"] = strength * penalise_alike(group, self.channels)
        if self.sparsity:
            terms["sparsity"] = self.sparsity * torch.linalg.vector_norm(group.coefficients(), self.order)
        return terms
