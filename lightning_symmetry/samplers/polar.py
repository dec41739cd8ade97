"""A single pose from a polar decomposition."""

from __future__ import annotations

import warnings
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import ActionMismatch
from lightning_symmetry.functional.frames import inverse_sqrt, nearest_rotation
from lightning_symmetry.functional.precision import full_precision
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import GL, SL, Affine, AffineMap, Element, Group
from lightning_symmetry.samplers.base import FrameSampler, read_rigid

SMALLEST_MARGIN = 1e-4
SMALLEST_SPREAD = 1e-6


@final
class Polar(FrameSampler):
    """The one pose of points that have an order (landmarks, joints, several vectors), from a polar decomposition.

    Every element of GL+ is ``P R``, a stretch and a rotation; here those of the frame ``P R`` that carries the standard
    pose to the data. ``Y`` are the points (less their mean, for SE, E and Affine).

    - GL, SL and Affine: ``P = (Y^T Y / N)^(1/2)`` whitens, for SL with determinant 1; SO, O, SE and E: ``P = 1``.
    - ``R`` is the rotation nearest to ``P^-1 Y^T A``, with a fixed template ``A`` of d waves along the points.

    The element is ``p -> R^T P^-1 (p - mean)``: one a sample, so that averaging costs a single forward. It can be
    differentiated once: energies have forces, but training on those needs `PCAFrames`.

    Args:
        group: SO, O, SE, E, GL, SL or Affine; of the last three the part that keeps handedness.

    Raises:
        InvalidSetting: It is another group.

    Cost: a singular value decomposition a sample, for GL, SL and Affine an eigendecomposition too.

    References:
        Mironenco and Forré, Lie Group Decompositions for Equivariant Neural Networks, arXiv 2310.11366, for ``P R``;
        Lin et al., minimal frames, arXiv 2406.07598, for one frame a sample.

    Example:
        >>> from lightning_symmetry.groups import SO
        >>> x = torch.tensor([[[0.0, 2.0], [-1.0, 0.0]]])
        >>> g, _ = Polar(SO(2)).support(x)
        >>> bool(torch.allclose(Polar(SO(2)).support(g(x))[0].linear, torch.eye(2), atol=1e-6))
        True
    """

    reads = "sequence"
    kinds = "SO, O, SE, E, GL, SL or Affine"

    def __init__(self, group: Group | None = None) -> None:
        super().__init__(group)
        self.bind()

    def _knows(self, group: Group) -> bool:
        return isinstance(group, (GL, SL, Affine)) or super()._knows(group)

    def sample(self, x: Tensor, n: int, rng: Rng) -> tuple[Element, Tensor]:
        """Give the one pose n times."""
        g, weights = self.support(x)
        return g[torch.arange(len(x), device=x.device).repeat_interleave(n)], weights.expand(-1, n) / n

    def support(self, x: Tensor) -> tuple[Element, Tensor]:
        """Give the one pose of each sample."""
        group, cloud = self._require_group(), self._cloud(x)
        rigid = read_rigid(group)
        with full_precision(x.device):
            centre = cloud.mean(1, keepdim=True) if group.affine else None
            y = cloud if centre is None else cloud - centre
            template = self._template(y, rigid is not None and not rigid.mirrors)
            # sums, not matrix products: TF32 would round them
            stretch = None
            if rigid is None:
                stretch = _whiten((y.unsqueeze(-1) * y.unsqueeze(-2)).mean(1), isinstance(group, SL))
                y = (y.unsqueeze(-2) * stretch.unsqueeze(1)).sum(-1)
            rotation, margin = nearest_rotation(
                (y.unsqueeze(-1) * template.unsqueeze(-2)).sum(1), bool(rigid and rigid.mirrors)
            )
            _warn(margin.detach(), SMALLEST_MARGIN, "correlate too little with the template of the frame")
            linear = rotation.mT if stretch is None else (rotation.mT.unsqueeze(-1) * stretch.unsqueeze(-3)).sum(-2)
            offset = None if centre is None else -(linear * centre).sum(-1)
        return AffineMap(linear, offset), torch.ones_like(cloud[:, 0, :1])

    def _template(self, y: Tensor, handed: bool) -> Tensor:
        """Write down d waves of growing frequency along N points, (N, d), orthogonal to each other."""
        group = self._require_group()
        count, dim = y.shape[1:]
        # the mean uses up one point; where there are no mirrors, the last axis follows from the others
        needed = dim + group.affine - handed
        if count < needed:
            raise ActionMismatch(
                f"{count} points a sample for Polar({group.sentence})",
                f"at least {needed}",
                "Use PCAFrames or more points.",
            )
        place = (torch.arange(count, device=y.device, dtype=y.dtype) + 0.5) * (torch.pi / count)
        waves = torch.arange(dim, device=y.device, dtype=y.dtype) + group.affine
        return (place.unsqueeze(1) * waves).cos()


def _whiten(spread: Tensor, keep_volume: bool) -> Tensor:
    values = torch.linalg.eigvalsh(spread.detach())
    smallest = values[:, 0] / values[:, -1].clamp_min(torch.finfo(values.dtype).tiny)
    _warn(smallest, SMALLEST_SPREAD, "lie (nearly) in a plane or on a line")
    root = inverse_sqrt(spread, floor=torch.finfo(spread.dtype).eps)
    if not keep_volume:
        return root
    return root * torch.linalg.det(root)[:, None, None].pow(-1 / spread.shape[-1])


def _warn(margin: Tensor, least: float, words: str) -> None:
    if bool((margin < least).any()):
        warnings.warn(
            f"the points of {int((margin < least).sum())} of {len(margin)} samples {words}: their pose is (nearly) "
            "arbitrary, so that nothing averaged over it has an exact symmetry.",
            stacklevel=2,
        )
