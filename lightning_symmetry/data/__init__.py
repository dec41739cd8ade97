"""LightningDataModules whose true symmetry is known, to check what was found against."""

from __future__ import annotations

from lightning_symmetry.data.base import KnownSymmetry
from lightning_symmetry.data.broken_vectors import BrokenVectors
from lightning_symmetry.data.mnist import MNIST
from lightning_symmetry.data.planar_vectors import PlanarVectors
from lightning_symmetry.data.point_clouds import PointClouds
from lightning_symmetry.data.rotated_digits import RotatedDigits
from lightning_symmetry.data.spatial_vectors import SpatialVectors
from lightning_symmetry.data.turned_blobs import TurnedBlobs
from lightning_symmetry.data.two_body import TwoBody

__all__ = [
    "MNIST",
    "BrokenVectors",
    "KnownSymmetry",
    "PlanarVectors",
    "PointClouds",
    "RotatedDigits",
    "SpatialVectors",
    "TurnedBlobs",
    "TwoBody",
]
