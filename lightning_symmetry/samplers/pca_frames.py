"""Frames from the principal axes."""

from __future__ import annotations

import warnings
from itertools import product
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.functional.frames import principal_axes
from lightning_symmetry.functional.precision import full_precision
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import AffineMap, Element, Group
from lightning_symmetry.samplers.base import LARGEST_LIST, FrameSampler, read_rigid

SMALLEST_GAP = 1e-4


@final
class PCAFrames(FrameSampler):
    """Poses in which the axes of space are the principal axes of a set of points; in any order of the points.

    With ``Y`` the points (less their mean, for SE and E) and ``Y^T Y = U diag(l) U^T``, the elements are
    ``p -> (U diag(a))^T (p - mean)``, a running over all signs: 2^d of them, of equal weight, and 2^(d-1) without
    mirrors, those with ``det(U) prod(a) = 1``. Drawing n of them is exact in expectation; none is drawn twice before
    all are. Derivatives flow through the axes wherever the points carry some.

    Where two of the ``l`` coincide (cubes, regular polygons, collinear points) the axes are arbitrary and nothing is
    exact; relative gaps below 1e-4 are warned of. `PointFrames` has no such places.

    Args:
        group: SO, O, SE or E.

    Raises:
        InvalidSetting: It is another group.

    Cost: one eigendecomposition a sample; no frame knows of padded points, so there must be none.

    Reference:
        Puny et al., Frame Averaging for Invariant and Equivariant Network Design, arXiv 2110.03336; drawing instead of
        averaging: Duval et al., FAENet, arXiv 2305.05577.

    Example:
        >>> from lightning_symmetry.groups import SE
        >>> g, weights = PCAFrames(SE(3)).support(torch.randn(5, 10, 3))
        >>> len(g), weights[0].tolist()
        (20, [0.25, 0.25, 0.25, 0.25])
    """

    def __init__(self, group: Group | None = None) -> None:
        super().__init__(group)
        self.bind()

    def sample(self, x: Tensor, n: int, rng: Rng) -> tuple[Element, Tensor]:
        """Draw n frames for each sample, without repetition as far as possible."""
        signs = self._signs(x)
        rounds = -(-n // len(signs))
        order = rng.uniform(x.shape[0], rounds, len(signs), device=x.device, dtype=torch.float64).argsort(-1)
        return self._pose(x, signs[order.flatten(1)[:, :n]])

    def support(self, x: Tensor) -> tuple[Element, Tensor]:
        """List all frames of each sample."""
        return self._pose(x, self._signs(x).expand(x.shape[0], -1, -1))

    def _signs(self, x: Tensor) -> Tensor:
        group = self._require_group()
        dim, rigid = group.dim, read_rigid(group)
        if dim is None or rigid is None or 2**dim > LARGEST_LIST:
            raise DimensionMismatch(f"frames in {dim} dimensions", "at most 10", "Use Haar there.")
        signs = torch.tensor(list(product((1.0, -1.0), repeat=dim)), device=x.device)
        return signs if rigid.mirrors else signs[signs.prod(1) > 0]

    def _pose(self, x: Tensor, signs: Tensor) -> tuple[Element, Tensor]:
        """Build elements from (B, m, d) signs."""
        rigid = read_rigid(self._require_group())
        cloud = self._cloud(x)
        with full_precision(x.device):
            centre = cloud.mean(1, keepdim=True)
            centred = cloud - centre if rigid is not None and rigid.translates else cloud
            # not a matrix product: TF32 would round it
            values, axes = principal_axes((centred.unsqueeze(-1) * centred.unsqueeze(-2)).sum(1))
            _warn(values.detach())
            handed = torch.linalg.det(axes.detach()).sign()
            first = axes[..., :1] * handed[:, None, None]
            linear = (signs.to(axes).unsqueeze(-1) * torch.cat((first, axes[..., 1:]), -1).mT.unsqueeze(1)).flatten(
                0, 1
            )
            offset = None
            if centred is not cloud:
                offset = -(linear * centre.repeat_interleave(signs.shape[1], 0)).sum(-1)
        weights = torch.full(signs.shape[:2], 1 / signs.shape[1], dtype=cloud.dtype, device=x.device)
        return AffineMap(linear, offset), weights


def _warn(values: Tensor) -> None:
    gaps = values.diff(dim=-1).amin(-1) / values[:, -1].clamp_min(torch.finfo(values.dtype).tiny)
    if bool((gaps < SMALLEST_GAP).any()):
        warnings.warn(
            f"{int((gaps < SMALLEST_GAP).sum())} of {len(gaps)} samples have principal axes of (nearly) equal length, "
            "whose frames are arbitrary: averages over them have no exact symmetry. PointFrames has no such places.",
            stacklevel=2,
        )
