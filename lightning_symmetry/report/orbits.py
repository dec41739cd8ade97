"""Panels that show what a one-parameter group makes of real samples."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.actions import Image
from lightning_symmetry.actions.jet import Jet
from lightning_symmetry.functional.spans import canonical_fields, is_rotation_like, unit_speed
from lightning_symmetry.paths import find_leaves, get_leaf, replace_leaves
from lightning_symmetry.report.formulas import label_axes
from lightning_symmetry.report.palette import FAINT, GREY, INK, SAMPLES, dress, for_words
from lightning_symmetry.symmetry import Symmetry

SHOWN = 3
_FRAMES = 7
_FINE = 81
_MOST_POINTS = 12
_GAP = 2
_PLANAR = 0.98


def take_samples(x: Any, symmetry: Symmetry, count: int = SHOWN) -> Any:
    """Keep the first rows of every tensor of an input structure.

    Args:
        x: Input structure of B rows.
        symmetry: Whose moving tensors tell what a row is.
        count: Rows to keep.

    Returns:
        The same structure with min(B, count) rows.
    """
    rows = len(symmetry.leading(x))
    cut = {path: leaf[:count] for path, leaf in find_leaves(x).items() if leaf.ndim and len(leaf) == rows}
    return replace_leaves(x, cut)


def choose_span(symmetry: Symmetry, index: int) -> tuple[float, bool]:
    """Choose how far an orbit is followed, in units of a generator at unit speed, and whether that is an angle."""
    group = symmetry.group
    if not group.linear:
        return 0.8, False
    turning = bool(is_rotation_like(group.basis()[index : index + 1], group.affine))
    return (math.pi, True) if turning else (0.8, False)


def follow_orbit(x: Any, symmetry: Symmetry, index: int, steps: Tensor) -> Any:
    """Move every sample along one generator.

    Args:
        x: Input structure of B rows.
        symmetry: Group and actions.
        index: Of the generator.
        steps: (T,) coefficients in units of the generator at unit speed.

    Returns:
        An input structure of B * T rows; row b * T + i is sample b moved by steps[i].
    """
    group, leading = symmetry.group, symmetry.leading(x)
    rows = len(leading)
    basis = group.coefficients().detach()
    size = torch.linalg.matrix_norm(basis[index]).clamp_min(1e-30)
    unit = unit_speed(basis[index : index + 1], group.affine) if group.linear else canonical_fields(basis[index, None])
    speed = torch.linalg.matrix_norm(unit)[0] / size
    t = torch.zeros(rows * len(steps), group.count, device=leading.device, dtype=basis.dtype)
    t[:, index] = (steps.to(basis) * speed).repeat(rows)
    leaves = {path: leaf for path, leaf in find_leaves(x).items() if leaf.ndim and len(leaf) == rows}
    repeated = replace_leaves(x, {path: leaf.repeat_interleave(len(steps), 0) for path, leaf in leaves.items()})
    with torch.no_grad():
        return symmetry.move_input(group.exp(t), repeated)


def shows_images(symmetry: Symmetry) -> bool:
    """Whether the first moving part of the input is an image."""
    return isinstance(symmetry.input.moving[0][1], Image)


def to_grey(images: Tensor) -> Tensor:
    """Average the channels and stretch each image to [0, 1]: (B, C, H, W) to (B, H, W)."""
    grey = images.detach().float().cpu().mean(1)
    low, high = grey.amin((1, 2), keepdim=True), grey.amax((1, 2), keepdim=True)
    return (grey - low) / (high - low).clamp_min(1e-12)


def has_orbits(symmetry: Symmetry, x: Any) -> bool:
    """Whether what moves of an input can be drawn: images, or tensors made of points of the group's space."""
    if shows_images(symmetry):
        return True
    path, action = symmetry.input.moving[0]
    if isinstance(action, Jet):
        return False
    leaf = get_leaf(x, path or "")
    return leaf.is_floating_point() and not leaf.shape[-1] % (symmetry.group.dim or leaf.shape[-1])


def draw_orbit(figure: Any, x: Any, symmetry: Symmetry, index: int, legend: bool = True) -> None:
    """Draw the orbit of up to three samples: a strip of images, or curves.

    Args:
        figure: A matplotlib (sub)figure to fill.
        x: Input structure of a few rows.
        symmetry: Group and actions.
        index: Of the generator.
        legend: Whether the colours of curves are explained.
    """
    reach, angular = choose_span(symmetry, index)
    path = symmetry.input.moving[0][0] or ""
    if shows_images(symmetry):
        steps = torch.linspace(-reach, reach, _FRAMES)
        frames = get_leaf(follow_orbit(x, symmetry, index, steps), path)
        _draw_strip(figure.subplots(), frames, steps, angular)
        return
    steps = torch.linspace(-reach, reach, _FINE)
    moved = get_leaf(follow_orbit(x, symmetry, index, steps), path).detach().float().cpu()
    rows, dim = len(symmetry.leading(x)), symmetry.group.dim or moved.shape[-1]
    curves = moved.reshape(rows, _FINE, -1, dim)[:, :, :_MOST_POINTS].transpose(1, 2)
    _draw_curves(figure, curves, dim, legend)


def _draw_strip(axes: Any, frames: Tensor, steps: Tensor, angular: bool) -> None:
    rows = len(frames) // len(steps)
    height, width = frames.shape[-2:]
    colour = frames.shape[1] == 3
    tiles = frames.detach().float().cpu()
    # one stretch for all frames of a sample, so that a frame's brightness means something
    grouped = tiles.reshape(rows, -1)
    low, high = grouped.amin(1), grouped.amax(1)
    tiles = tiles if colour else tiles.mean(1, keepdim=True)
    tiles = tiles.reshape(rows, len(steps), *tiles.shape[1:])
    tiles = ((tiles - low[:, None, None, None, None]) / (high - low).clamp_min(1e-12)[:, None, None, None, None]).clamp(
        0, 1
    )
    canvas = torch.ones(rows * (height + _GAP) - _GAP, len(steps) * (width + _GAP) - _GAP, tiles.shape[2])
    for i in range(rows):
        for j in range(len(steps)):
            top, left = i * (height + _GAP), j * (width + _GAP)
            canvas[top : top + height, left : left + width] = tiles[i, j].permute(1, 2, 0)
    axes.imshow(canvas.squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([j * (width + _GAP) + width / 2 - 0.5 for j in range(len(steps))])
    axes.set_xticklabels([_write_step(step, angular) for step in steps.tolist()])
    axes.xaxis.tick_top()
    axes.set_yticks([])
    dress(axes)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    middle = (len(steps) // 2) * (width + _GAP)
    axes.add_patch(_frame(middle - 1.5, -1.5, width + 2, canvas.shape[0] + 2))


def _write_step(step: float, angular: bool) -> str:
    words = f"{math.degrees(step):.0f}°" if angular else f"{step:+.2f}" if abs(step) > 1e-6 else "0"
    return words.replace("-", "\u2212")


def _frame(left: float, top: float, width: float, height: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((left, top), width, height, fill=False, edgecolor=SAMPLES[1], linewidth=1.8, clip_on=False)


def _draw_curves(figure: Any, curves: Tensor, dim: int, legend: bool) -> None:
    """Draw (samples, points, steps, d) curves; beyond three dimensions in the plane in which they move most."""
    names = label_axes(dim)
    if dim > 3:
        curves, names = _project(curves, names)
    elif dim == 1:
        steps = torch.linspace(-1, 1, curves.shape[2]).expand(curves.shape[:3])
        curves = torch.stack((steps, curves[..., 0]), -1)
        names = ["coefficient", "x"]
    solid = curves.shape[-1] == 3
    axes = figure.subplots(subplot_kw={"projection": "3d"} if solid else None)
    middle = curves.shape[2] // 2
    for i, sample in enumerate(curves):
        for j, curve in enumerate(sample):
            axes.plot(*curve.T.numpy(), color=SAMPLES[i % 3], linewidth=1.8, alpha=0.75)
            start = [[float(v)] for v in curve[middle]]
            label = f"sample {i + 1}" if j == 0 else None
            axes.plot(*start, "o", color=SAMPLES[i % 3], markersize=7, markeredgecolor="white", label=label)
    if solid:
        axes.set_xlabel(names[0]), axes.set_ylabel(names[1]), axes.set_zlabel(names[2])
        axes.tick_params(labelsize=8, colors=for_words(GREY))
        axes.set_box_aspect((1, 1, 1), zoom=0.95)
        reach = float(curves.abs().max())
        axes.set_xlim(-reach, reach), axes.set_ylim(-reach, reach), axes.set_zlim(-reach, reach)
    else:
        dress(axes, "", names[0], names[1])
        axes.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
        axes.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
        if dim > 1:
            low, high = (float(v) for v in torch.aminmax(curves))
            low, high = min(low, 0.0), max(high, 0.0)
            margin = 0.06 * (high - low) + 1e-6
            axes.set_xlim(low - margin, high + margin), axes.set_ylim(low - margin, high + margin)
            axes.set_aspect("equal")
    if not legend:
        return
    place = (
        {"loc": "upper right", "bbox_to_anchor": (0.02, 1.0)}
        if solid
        else {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    )
    axes.legend(fontsize=9, frameon=False, labelcolor=INK, handletextpad=0.2, **place)


def _project(curves: Tensor, names: list[str]) -> tuple[Tensor, list[str]]:
    """Choose two axes where nearly all of the motion is in them, else its two main directions."""
    centred = (curves - curves.mean(2, keepdim=True)).reshape(-1, curves.shape[-1])
    motion = centred.square().sum(0)
    best = motion.topk(2).indices.sort().values
    if float(motion[best].sum()) >= _PLANAR * float(motion.sum()):
        return curves[..., best], [names[i] for i in best.tolist()]
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    return curves @ directions[:2].mT, ["first main direction", "second main direction"]
