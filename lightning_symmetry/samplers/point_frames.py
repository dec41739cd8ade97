"""Weighted frames from the points themselves."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.functional.precision import full_precision
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import AffineMap, Element, Group
from lightning_symmetry.samplers.base import LARGEST_LIST, FrameSampler, read_rigid


@final
class PointFrames(FrameSampler):
    """Poses in which one point lies on the first axis, weighted so that the average is continuous in the data.

    In the plane point i is turned onto the x axis, with weight ``|y_i|``: N poses. In space the ordered pair (i, j)
    gives the axes ``y_i``, then ``y_j`` made orthogonal to it, then ``y_i x y_j``, with weight ``|y_i x y_j|``:
    N (N - 1) poses. With mirrors each comes twice. ``y`` are the points, less their mean for SE and E. Symmetric and
    collinear clouds are no exception, and the order of the points does not matter.

    Drawing n of them by weight is exact in expectation; the derivative of the weights flows through the full list only.

    Args:
        group: SO, O, SE or E of the plane or of space.

    Raises:
        InvalidSetting: It is another group.
        DimensionMismatch: It is another dimension.

    Reference:
        Dym, Lawrence, Siegel, Equivariant Frames and the Impossibility of Continuous Canonicalization, arXiv
        2402.16077, show why weights are needed.

    Example:
        >>> from lightning_symmetry.groups import SO
        >>> g, weights = PointFrames(SO(2)).support(torch.tensor([[[0.0, 3.0], [1.0, 0.0]]]))
        >>> weights
        tensor([[0.7500, 0.2500]])
    """

    def __init__(self, group: Group | None = None) -> None:
        super().__init__(group)
        self.bind()

    def sample(self, x: Tensor, n: int, rng: Rng) -> tuple[Element, Tensor]:
        """Draw n frames for each sample, each with the probability of its weight."""
        linear, centre, weights = self._list(x)
        total = weights.detach().double().cumsum(1)
        draws = rng.uniform(x.shape[0], n, device=x.device, dtype=torch.float64) * total[:, -1:]
        chosen = torch.searchsorted(total, draws, right=True).clamp_max(weights.shape[1] - 1)
        rows = torch.arange(len(x), device=x.device).unsqueeze(1)
        return _place(linear[rows, chosen], centre), torch.full_like(weights[:, :1], 1 / n).expand(-1, n)

    def support(self, x: Tensor) -> tuple[Element, Tensor] | None:
        """List all frames of each sample, for at most 1024 of them."""
        group = self._require_group()
        count = self._cloud(x).shape[1]
        rigid = read_rigid(group)
        if (count if group.dim == 2 else count * (count - 1)) * (
            1 + (rigid is not None and rigid.mirrors)
        ) > LARGEST_LIST:
            return None
        linear, centre, weights = self._list(x)
        return _place(linear, centre), weights

    def _list(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Give all poses (B, m, d, d), the centre (B, 1, d) and the weights (B, m)."""
        group = self._require_group()
        rigid, cloud = read_rigid(group), self._cloud(x)
        if group.dim not in (2, 3) or rigid is None:
            raise DimensionMismatch(f"frames in {group.dim} dimensions", "2 or 3", "Use PCAFrames there.")
        with full_precision(x.device):
            centre = cloud.mean(1, keepdim=True) if rigid.translates else None
            y = cloud if centre is None else cloud - centre
            linear, weights = _turn(y) if group.dim == 2 else _lay_out(y)
            if rigid.mirrors:
                # the last axis is the one that the points left open
                mirrored = linear * linear.new_tensor([1.0] * (group.dim - 1) + [-1.0]).unsqueeze(-1)
                linear, weights = torch.cat((linear, mirrored), 1), torch.cat((weights, weights), 1)
            # a cloud that is a single place has no direction: all poses are alike
            weights = weights + torch.finfo(weights.dtype).tiny ** 0.5
            return linear, centre, weights / weights.sum(1, keepdim=True)


def _unit(v: Tensor) -> tuple[Tensor, Tensor]:
    """Scale vectors to length 1, also where they vanish: directions (..., d) and lengths (...)."""
    square = v.square().sum(-1, keepdim=True)
    empty = square <= torch.finfo(v.dtype).tiny
    first = torch.zeros_like(v)
    first[..., 0] = 1
    length = torch.where(empty, 1.0, square).sqrt()
    return torch.where(empty, first, v / length), torch.where(empty, 0.0, length).squeeze(-1)


def _turn(y: Tensor) -> tuple[Tensor, Tensor]:
    direction, length = _unit(y)
    x, z = direction.unbind(-1)
    return torch.stack((x, z, -z, x), -1).unflatten(-1, (2, 2)), length


def _lay_out(y: Tensor) -> tuple[Tensor, Tensor]:
    count = y.shape[1]
    i, j = torch.ones(count, count, device=y.device).fill_diagonal_(0).nonzero().unbind(1)
    first, length = _unit(y)
    first, reach = first[:, i], length[:, i] * length[:, j]
    area = torch.linalg.cross(y[:, i], y[:, j])
    # what is left of parallel vectors is rounding, whose direction means nothing
    flat = area.detach().norm(dim=-1) <= 100 * torch.finfo(y.dtype).eps * reach.detach()
    least = torch.nn.functional.one_hot(first.detach().abs().argmin(-1), 3).to(y)
    area = torch.where(flat.unsqueeze(-1), torch.linalg.cross(first, least), area)
    third, size = _unit(area)
    third, _ = _unit(third - (third * first).sum(-1, keepdim=True) * first)
    second = torch.linalg.cross(third, first)
    return torch.stack((first, second, third), -2), torch.where(flat, 0.0, size)


def _place(linear: Tensor, centre: Tensor | None) -> AffineMap:
    maps = linear.flatten(0, 1)
    if centre is None:
        return AffineMap(maps)
    return AffineMap(maps, -(linear * centre.unsqueeze(1)).sum(-1).flatten(0, 1))
