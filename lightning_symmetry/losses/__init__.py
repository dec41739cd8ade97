"""What is penalised: how far the network is from a symmetry, and what keeps a learnt group in shape."""

from lightning_symmetry.losses.base import Loss
from lightning_symmetry.losses.call import Call, View
from lightning_symmetry.losses.equivariance import Equivariance, InfinitesimalEquivariance
from lightning_symmetry.losses.group import NormReward, OrbitCosine, Orthogonality, Sparsity, suggest_reward
from lightning_symmetry.losses.law import WidthReward
from lightning_symmetry.losses.projection import Projection

__all__ = [
    "Call",
    "Equivariance",
    "InfinitesimalEquivariance",
    "Loss",
    "NormReward",
    "OrbitCosine",
    "Orthogonality",
    "Projection",
    "Sparsity",
    "View",
    "WidthReward",
    "suggest_reward",
]
