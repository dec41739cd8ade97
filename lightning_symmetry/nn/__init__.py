"""Layers and wrappers in plain torch."""

from __future__ import annotations

from lightning_symmetry.nn.symmetrized import Symmetrized, symmetrize

__all__ = ["Symmetrized", "symmetrize"]
