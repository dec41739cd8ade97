"""How three vectors point alike: rotations and scalings leave it alone, until a term breaks either or both."""

from __future__ import annotations

from typing import ClassVar, Literal, final

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_symmetry.data.base import KnownFunction
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry

VECTORS = 3
_TRUTH = {"none": "SO(3) * scale", "scale": "SO(3)", "rotation": "scale(3)", "both": None}


@final
class CosineSimilarity(KnownFunction):
    r"""Three vectors of space, the mean cosine of the angles between them, and a term that depends on more than these.

    .. math::

        y = \tfrac13 \sum_{i} \cos(x_i, x_{i+1}) - \text{noise}
        \begin{cases}
            \tfrac13 \sum_i |x_i| & \text{scale is broken} \\
            |x_1|_1 / (|x_2|_1 + |x_3|_1) & \text{rotation is broken} \\
            \text{the first less the second} & \text{both are}
        \end{cases}

    with :math:`|\cdot|_1` the sum of absolute values. Input (B, 9), standard normal; target (B, 1):
    ``vector(3) -> scalar``.

    Args:
        broken: "none", "scale", "rotation" or "both".
        noise: Size of the term that breaks.
        samples: Of the training part; validation and test hold 1000.
        batch_size: Samples a step.
        seed: Of everything drawn.
        double: Deal float64.

    Raises:
        InvalidSetting: There is no such case, or nothing to train on.

    References:
        Kim et al., Regularizing Towards Soft Equivariance Under Mixed Symmetries, ICML 2023, arXiv 2306.00356.

    Example:
        >>> CosineSimilarity("scale").truth().sentence
        'SO(3) on vector(3) -> scalar'
    """

    held_out: ClassVar[int] = 1000

    def __init__(
        self,
        broken: Literal["none", "scale", "rotation", "both"] = "scale",
        noise: float = 1.0,
        samples: int = 1000,
        batch_size: int = 200,
        seed: int = 0,
        double: bool = False,
    ) -> None:
        super().__init__(samples, batch_size, seed, double)
        if broken not in _TRUTH:
            raise InvalidSetting(f"broken={broken!r}", f"one of {', '.join(_TRUTH)}", "The default is scale.")
        self.broken, self.noise = broken if noise else "none", float(noise)

    def truth(self) -> Symmetry | None:
        """Give what is not broken, None if both are."""
        group = _TRUTH[self.broken]
        return None if group is None else Symmetry.parse(f"{group} on vector(3) -> scalar", name="cosine")

    def target(self, x: Tensor) -> Tensor:
        """Evaluate y: (B, 9) -> (B, 1)."""
        vectors = x.unflatten(1, (VECTORS, 3))
        y = F.cosine_similarity(vectors, vectors.roll(-1, 1), -1).mean(1, keepdim=True)
        radius, parts = vectors.norm(dim=-1).mean(1, keepdim=True), vectors.abs().sum(-1)
        fraction = parts[:, :1] / parts[:, 1:].sum(1, keepdim=True)
        breaks = {"none": 0.0, "scale": radius, "rotation": fraction, "both": radius - fraction}
        return y - self.noise * breaks[self.broken]

    def draw(self, rng: Rng, rows: int) -> Tensor:
        """Draw inputs, (rows, 9), float64."""
        return rng.normal(rows, 3 * VECTORS, dtype=torch.float64)
