"""Terms on the group alone: they keep a learnt basis from collapsing, repeating itself, or filling up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_symmetry.actions import Image
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.precision import widen
from lightning_symmetry.functional.spans import quarter_turn_norm
from lightning_symmetry.losses.base import Loss
from lightning_symmetry.losses.call import Call
from lightning_symmetry.paths import get_leaf
from lightning_symmetry.symmetry import Symmetry


def suggest_reward(symmetries: Iterable[Symmetry]) -> float:
    """Suggest a strength for the norm reward: 0.05, and 0.2 where images are moved.

    Resampling an image changes the answer at the smallest angle already. A weaker reward than that slope leaves a true
    generator at the origin until the network no longer minds the blur.

    Example:
        >>> suggest_reward([Symmetry.parse("vector -> vector")]), suggest_reward([Symmetry.parse("image -> label")])
        (0.05, 0.2)
    """
    return 0.2 if any(isinstance(a, Image) for s in symmetries for _, a in s.input.parts) else 0.05


@final
class NormReward(Loss):
    """Capped linear reward for norm: - mean_k min( ||L_k||_F, cap ).

    Its slope is constant at L = 0, where the cosine's is flat, so a generator that costs nothing grows to the cap
    and one that costs something shrinks: the norm is the evidence.

    Args:
        cap: Norm from which on nothing is gained; by default a quarter turn, sqrt(2) pi / 2 in the plane and in space.
    """

    needs_output = False

    def __init__(self, cap: float | None = None) -> None:
        super().__init__()
        if cap is not None and cap <= 0:
            raise InvalidSetting(f"cap={cap}", "a positive norm", "Leave it out for a quarter turn.")
        self.cap = cap

    def forward(self, call: Call) -> Tensor:
        """Return a scalar, bounded below by -cap."""
        group = call.symmetry.group
        cap = self.cap if self.cap is not None else quarter_turn_norm(group.dim or 2)
        return -group.norms().clamp_max(cap).mean()


@final
class OrbitCosine(Loss):
    """Pushes the orbit away from where it starts: mean_k | mean_b cos( rho(g_b) x_b, x_b ) |.

    The cosine is taken per sample on flattened inputs; the mean over samples is taken per active generator (over all
    samples where every generator is active at once). It is least when the coefficients are spread uniformly over a
    compact orbit. It says nothing against pure scalings and punishes generators that are not orthogonal.
    """

    needs_output = False

    def forward(self, call: Call) -> Tensor:
        """Return a scalar in [0, 1]."""
        total = []
        for view in call.views:
            cosines = []
            for path, _ in call.symmetry.input.moving:
                before, after = (widen(get_leaf(t, path).flatten(1)) for t in (call.x, view.x))
                cosines.append(call.rows.pool(F.cosine_similarity(before, after, dim=1), path))
            cosine = torch.stack(cosines).mean(0)
            t = view.g.coordinates
            active = cosine.new_ones(len(cosine), 1) if t is None else (t != 0).to(cosine)
            seen = active.sum(0)
            means = (cosine[:, None] * active).sum(0) / seen.clamp_min(1)
            total.append(means.abs().sum() / (seen > 0).sum().clamp_min(1))
        return torch.stack(total).mean()


@final
class Orthogonality(Loss):
    """Keeps generators apart: sum_{j<k} cos^2( L_j, L_k ), on directions only, so that norms stay free."""

    needs_output = False

    def forward(self, call: Call) -> Tensor:
        """Return a scalar in [0, K (K - 1) / 2]."""
        directions = F.normalize(call.symmetry.group.coefficients().flatten(1), dim=1)
        return torch.triu(directions @ directions.mT, diagonal=1).square().sum()


@final
class Sparsity(Loss):
    """Prefers generators with few entries: sum_k ||L_k||_p.

    Args:
        p: Order of the entrywise norm, at least 1.
    """

    needs_output = False

    def __init__(self, p: float = 1.0) -> None:
        super().__init__()
        if p < 1:
            raise InvalidSetting(f"p={p}", "at least 1", "Use 1 for the sum of absolute entries.")
        self.p = p

    def forward(self, call: Call) -> Tensor:
        """Return a non-negative scalar."""
        return torch.linalg.vector_norm(call.symmetry.group.coefficients().flatten(1), self.p, dim=1).sum()
