"""Samplers: laws from which group elements are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning_symmetry.groups.naming import build_by_name
from lightning_symmetry.samplers.base import CoordinateSampler, Sampler
from lightning_symmetry.samplers.bounds import learns_widths, limit_widths, width_bounds
from lightning_symmetry.samplers.haar import Haar
from lightning_symmetry.samplers.integers import Integers
from lightning_symmetry.samplers.normal import Normal
from lightning_symmetry.samplers.one_hot import OneHot
from lightning_symmetry.samplers.pca_frames import PCAFrames
from lightning_symmetry.samplers.point_frames import PointFrames
from lightning_symmetry.samplers.polar import Polar
from lightning_symmetry.samplers.uniform import Uniform

__all__ = [
    "CoordinateSampler",
    "Haar",
    "Integers",
    "Normal",
    "OneHot",
    "PCAFrames",
    "PointFrames",
    "Polar",
    "Sampler",
    "Uniform",
    "by_name",
    "learns_widths",
    "limit_widths",
    "width_bounds",
]

_TABLE: dict[str, Callable[..., Sampler]] = {
    "haar": Haar,
    "integers": Integers,
    "normal": Normal,
    "onehot": OneHot,
    "pcaframes": PCAFrames,
    "pointframes": PointFrames,
    "polar": Polar,
    "uniform": Uniform,
}


def by_name(name: str, *args: Any, **kwargs: Any) -> Sampler:
    """Make a sampler from its name.

    Args:
        name: For example "Uniform" or "one_hot"; a dotted name imports a class.
        *args: For its constructor.
        **kwargs: For its constructor.

    Returns:
        The sampler.

    Raises:
        UnknownName: Nothing has that name; close matches are listed.
        SentenceError: The arguments do not fit.

    Example:
        >>> by_name("uniform", width=0.5).width
        0.5
    """
    return build_by_name(name, _TABLE, Sampler, *args, **kwargs)
