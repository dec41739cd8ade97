"""Layers and wrappers in plain torch, and networks of escnn's layers."""

from __future__ import annotations

from lightning_symmetry.nn.steerable import SteerableCNN, SteerableMLP
from lightning_symmetry.nn.symmetrized import Symmetrized, symmetrize
from lightning_symmetry.nn.tensor_network import GatedTensorNetwork

__all__ = ["GatedTensorNetwork", "SteerableCNN", "SteerableMLP", "Symmetrized", "symmetrize"]
