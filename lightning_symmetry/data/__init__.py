"""LightningDataModules whose true symmetry is known, to check what was found against."""

from __future__ import annotations

from lightning_symmetry.data.base import KnownEquation, KnownFunction, KnownSymmetry
from lightning_symmetry.data.broken_vectors import BrokenVectors
from lightning_symmetry.data.cosine_similarity import CosineSimilarity
from lightning_symmetry.data.cross_product import CrossProduct
from lightning_symmetry.data.falling_springs import FallingSprings
from lightning_symmetry.data.four_momenta import FourMomenta
from lightning_symmetry.data.heat_jets import HeatJets
from lightning_symmetry.data.inertia import Inertia
from lightning_symmetry.data.kdv_jets import KdVJets
from lightning_symmetry.data.limit_cycle import LimitCycle
from lightning_symmetry.data.mnist import MNIST
from lightning_symmetry.data.motion_capture import MotionCapture
from lightning_symmetry.data.moved_digits import MovedDigits
from lightning_symmetry.data.planar_vectors import PlanarVectors
from lightning_symmetry.data.point_clouds import PointClouds
from lightning_symmetry.data.repeated_sectors import RepeatedSectors
from lightning_symmetry.data.rings import Rings
from lightning_symmetry.data.rotated_digits import RotatedDigits
from lightning_symmetry.data.spatial_vectors import SpatialVectors
from lightning_symmetry.data.trajectories import Trajectories
from lightning_symmetry.data.turned_blobs import TurnedBlobs
from lightning_symmetry.data.two_body import TwoBody
from lightning_symmetry.data.two_body_forces import TwoBodyForces
from lightning_symmetry.data.vector_pairs import VectorPairs

__all__ = [
    "MNIST",
    "BrokenVectors",
    "CosineSimilarity",
    "CrossProduct",
    "FallingSprings",
    "FourMomenta",
    "HeatJets",
    "Inertia",
    "KdVJets",
    "KnownEquation",
    "KnownFunction",
    "KnownSymmetry",
    "LimitCycle",
    "MotionCapture",
    "MovedDigits",
    "PlanarVectors",
    "PointClouds",
    "RepeatedSectors",
    "Rings",
    "RotatedDigits",
    "SpatialVectors",
    "Trajectories",
    "TurnedBlobs",
    "TwoBody",
    "TwoBodyForces",
    "VectorPairs",
]
