"""Panels that show a generator as the flow that it makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.functional.polynomials import degree_of, evaluate_monomials, list_monomials, write_monomial
from lightning_symmetry.report.formulas import label_axes
from lightning_symmetry.report.palette import BLUE, DIVERGING, FAINT, GREY, INK, dress, for_words

Velocity = Callable[[Tensor], Tensor]

_ARROWS = 11
_ANNOTATED = 9
_SMALL = 0.05
_SPHERE = 90
# Elevation and azimuth, degrees.
_VIEW = (22, 35)


def draw_field(figure: Any, generator: Tensor, dim: int, affine: bool, backdrop: Tensor | None = None) -> None:
    """Draw the velocity of points under a generator: arrows in two and three dimensions, the matrix beyond.

    Args:
        figure: A matplotlib (sub)figure to fill.
        generator: (n, n), or (d, M) coefficients of a polynomial field; of any norm, arrows are scaled to fit.
        dim: Dimension d of the space.
        affine: Whether the generator is homogeneous.
        backdrop: (H, W) image in [0, 1], drawn faintly below, with the vertical axis pointing down.
    """
    matrix = generator.detach().to("cpu", torch.float64)
    if dim == 2:
        _draw_plane(figure.subplots(), _velocity(matrix, dim, affine), (0, 1), dim, backdrop)
    elif dim == 3:
        panels = figure.subplots(1, 3)
        for axes, plane in zip(panels, combinations(range(3), 2), strict=True):
            _draw_plane(axes, _velocity(matrix, dim, affine), plane, dim, None)
    else:
        draw_matrix(figure, matrix, dim)


def draw_flow(
    figure: Any,
    generator: Tensor,
    dim: int,
    affine: bool,
    backdrop: Tensor | None = None,
    coordinates: Sequence[str] | None = None,
) -> None:
    """Draw a generator in one panel: arrows in a plane or on a sphere, else its numbers.

    Args:
        figure: A matplotlib (sub)figure to fill.
        generator: (n, n), or (d, M) coefficients of a polynomial field; of any norm, arrows are scaled to fit.
        dim: Dimension d of the space.
        affine: Whether the generator is homogeneous.
        backdrop: (H, W) image in [0, 1], drawn faintly below, with the vertical axis pointing down.
        coordinates: Names of coordinates that are no places in space, which are then not drawn as such.
    """
    matrix = generator.detach().to("cpu", torch.float64)
    linear = len(matrix) == matrix.shape[1]
    if coordinates is None and linear and not bool(matrix[:dim, : dim + affine].any()):
        figure.text(0.5, 0.5, "changes values, moves nothing", ha="center", color=for_words(GREY))
    elif coordinates is None and dim == 2:
        _draw_plane(figure.subplots(), _velocity(matrix, dim, affine), (0, 1), dim, backdrop)
    elif coordinates is None and dim == 3 and linear:
        _draw_sphere(figure.subplots(subplot_kw={"projection": "3d"}), _velocity(matrix, dim, affine))
    else:
        draw_matrix(figure, matrix, dim, coordinates)


def _velocity(generator: Tensor, dim: int, affine: bool) -> Velocity:
    if generator.shape[0] != generator.shape[1]:
        degree = degree_of(dim, generator.shape[1])
        return lambda points: evaluate_monomials(points, degree) @ generator.mT
    offset = generator[:dim, dim] if affine else generator.new_zeros(dim)
    return lambda points: points @ generator[:dim, :dim].mT + offset


def _draw_plane(axes: Any, velocity: Velocity, plane: tuple[int, int], dim: int, backdrop: Tensor | None) -> None:
    """Arrows in a coordinate plane; what leaves the plane is shown by colour."""
    line = torch.linspace(-0.9, 0.9, _ARROWS, dtype=torch.float64)
    across, along = torch.meshgrid(line, line, indexing="xy")
    points = line.new_zeros(*across.shape, dim)
    points[..., plane[0]], points[..., plane[1]] = across, along
    flow = velocity(points)
    fastest = max(float(flow.norm(dim=-1).max()), 1e-12)
    flow = flow / fastest
    names = label_axes(dim)
    if backdrop is not None:
        height, width = backdrop.shape
        x, y = width / max(height, width), height / max(height, width)
        axes.imshow(backdrop.numpy(), cmap="Greys", extent=(-x, x, y, -y), alpha=0.35, vmin=0, vmax=1)
    if dim == 3:
        (third,) = set(range(3)) - set(plane)
        axes.imshow(
            flow[..., third].numpy(), cmap=DIVERGING, extent=(-1, 1, -1, 1), origin="lower", vmin=-1.6, vmax=1.6,
            interpolation="bilinear",
        )  # fmt: skip
    axes.quiver(
        across.numpy(), along.numpy(), flow[..., plane[0]].numpy(), flow[..., plane[1]].numpy(), color=BLUE,
        angles="xy", scale_units="xy", scale=3.6, width=0.009, headwidth=4, headlength=4.5, minlength=0.4,
    )  # fmt: skip
    axes.plot([0], [0], marker="+", color=INK, markersize=7, markeredgewidth=1.2)
    axes.set_xlim(-1.15, 1.15)
    axes.set_ylim((1.15, -1.15) if backdrop is not None else (-1.15, 1.15))
    axes.set_xticks([-1, 0, 1])
    axes.set_yticks([-1, 0, 1])
    axes.set_aspect("equal")
    dress(axes, "", names[plane[0]], names[plane[1]])


def _draw_sphere(axes: Any, velocity: Velocity) -> None:
    """Arrows at points of the unit sphere, those behind in grey."""
    index = torch.arange(_SPHERE, dtype=torch.float64)
    height = 1 - (2 * index + 1) / _SPHERE
    turn, radius = index * math.pi * (3 - math.sqrt(5)), (1 - height.square()).sqrt()
    points = torch.stack((radius * turn.cos(), radius * turn.sin(), height), 1)
    flow = velocity(points)
    flow = flow / max(float(flow.norm(dim=-1).max()), 1e-12)
    view = torch.tensor([math.cos(math.radians(e)) for e in _VIEW], dtype=torch.float64)
    towards = torch.tensor([view[0] * view[1], view[0] * math.sin(math.radians(_VIEW[1])),
                            math.sin(math.radians(_VIEW[0]))], dtype=torch.float64)  # fmt: skip
    for front, colour in ((False, FAINT), (True, BLUE)):
        kept = ((points @ towards) > 0) == front
        axes.quiver(*points[kept].T.numpy(), *(0.5 * flow[kept]).T.numpy(), color=colour, linewidth=1.3,
                    arrow_length_ratio=0.4)  # fmt: skip
    for name, end in zip("xyz", (1.45 * torch.eye(3)).tolist(), strict=True):
        axes.plot(*([0, value] for value in end), color=GREY, linewidth=0.8)
        axes.text(*(1.1 * value for value in end), name, color=INK, fontsize=10, ha="center", va="center")
    axes.view_init(*_VIEW)
    axes.set_box_aspect((1, 1, 1), zoom=1.25)
    axes.set_xlim(-1.2, 1.2), axes.set_ylim(-1.2, 1.2), axes.set_zlim(-1.2, 1.2)
    # panes, grid and ticks of three dimensions are slow to draw and say nothing here
    axes.set_axis_off()


def draw_matrix(figure: Any, generator: Tensor, dim: int, coordinates: Sequence[str] | None = None) -> None:
    """Draw the entries of a generator as a heat map, with numbers where they fit.

    Args:
        figure: A matplotlib (sub)figure to fill.
        generator: (n, n), or (d, M) coefficients of a polynomial field.
        dim: Dimension d of the space; a further row and column belong to the shift.
        coordinates: Their names; x, y, z and so on by default.
    """
    matrix, axes = generator.detach().to("cpu", torch.float64), figure.subplots()
    largest = max(float(matrix.abs().max()), 1e-12)
    names = [*(coordinates or label_axes(dim)), "1"]
    sources = names[: matrix.shape[1]]
    if matrix.shape[0] != matrix.shape[1]:
        sources = [write_monomial(m, names) or "1" for m in list_monomials(dim, degree_of(dim, matrix.shape[1]))]
        if len(sources) > _ANNOTATED:
            # of many monomials a readable field has few
            used = matrix.abs().amax(0) >= _SMALL * largest
            matrix, sources = matrix[:, used], [name for name, kept in zip(sources, used.tolist(), strict=True) if kept]
    axes.imshow((matrix / largest).numpy(), cmap=DIVERGING, vmin=-1.9, vmax=1.9)
    rows, columns = matrix.shape
    if columns <= _ANNOTATED:
        for i, j in (matrix.abs() >= _SMALL * largest).nonzero().tolist():
            words = f"{float(matrix[i, j]):.2g}".replace("-", "\u2212")
            number = axes.text(j, i, words, ha="center", va="center", fontsize=11 if columns <= 4 else 8, color=INK)
            number.set_in_layout(False)
        axes.set_xticks(range(columns), sources)
        axes.set_yticks(range(rows), names[:rows])
    axes.hlines([i - 0.5 for i in range(1, rows)], -0.5, columns - 0.5, color=FAINT, linewidth=0.5)
    axes.vlines([j - 0.5 for j in range(1, columns)], -0.5, rows - 0.5, color=FAINT, linewidth=0.5)
    dress(axes, "", "from", "to")
    axes.tick_params(length=0, colors=for_words(GREY))
