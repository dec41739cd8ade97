"""Samplers: laws from which group elements are drawn."""

from __future__ import annotations

from lightning_symmetry.samplers.base import Sampler
from lightning_symmetry.samplers.normal import Normal
from lightning_symmetry.samplers.one_hot import OneHot
from lightning_symmetry.samplers.uniform import Uniform

__all__ = ["Normal", "OneHot", "Sampler", "Uniform"]
