from __future__ import annotations

import torch
from torch import Tensor

from lightning_symmetry.actions import Action, Image, Label, Points, Representation, Scalar, Vector
from lightning_symmetry.functional.warp import pixel_coordinates
from lightning_symmetry.groups import SE, SO, Affine, Cyclic, Dihedral, E, Group
from lightning_symmetry.testing import ActionContract


class TestLabel(ActionContract):
    subject = Label
    moves = False

    def make(self) -> Action:
        return Label()

    def group(self) -> Group:
        return SE(3)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 3, dtype=torch.float64)


class TestScalar(ActionContract):
    subject = Scalar
    moves = False

    def make(self) -> Action:
        return Scalar()

    def group(self) -> Group:
        return SE(3)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 3, dtype=torch.float64)


class TestVector(ActionContract):
    subject = Vector

    def make(self) -> Action:
        return Vector()

    def group(self) -> Group:
        return SE(3)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 5, 6, dtype=torch.float64)


class TestPlaneVector(TestVector):
    def make(self) -> Action:
        return Vector(2)

    def group(self) -> Group:
        return Dihedral(3)


class TestPoints(ActionContract):
    subject = Points

    def make(self) -> Action:
        return Points()

    def group(self) -> Group:
        return E(3)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 5, 3, dtype=torch.float64)


class TestSinglePoint(TestPoints):
    def make(self) -> Action:
        return Points(3)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 3, dtype=torch.float64)


class TestImage(ActionContract):
    subject = Image
    # Bilinear reading loses up to an eighth of the second differences: 0.8 % of this image at each reading.
    tolerance = 0.02
    width = 0.05

    def make(self) -> Action:
        return Image()

    def group(self) -> Group:
        return Affine(2)

    def data(self, rows: int) -> Tensor:
        p = pixel_coordinates(64, 72, dtype=torch.float64)
        centres = 0.2 * self.rng().normal(rows, 2, 2, dtype=torch.float64).clamp(-1, 1)
        square = (p - centres.unsqueeze(-2)).square().sum(-1)
        return torch.exp(-square / (2 * 0.16**2)).unflatten(-1, (64, 72))


class TestSpectralImage(TestImage):
    def make(self) -> Action:
        return Image(padding="border", gradient="spectral")

    def test_lie_is_the_derivative(self) -> None:
        """Of the continuous image: the contract's own differences see the slope of the bilinear reading instead."""
        group, x = self.group().bind(2), self.data(3)
        p = pixel_coordinates(64, 72, dtype=torch.float64)
        centres = 0.2 * self.rng().normal(3, 2, 2, dtype=torch.float64).clamp(-1, 1)
        slope = -(p - centres.unsqueeze(-2)) / 0.16**2 * x.flatten(2).unsqueeze(-1)
        velocity = group.field(p[None])[0].movedim(1, 0)
        expected = -torch.einsum("bcnd,knd->bkcn", slope, velocity).unflatten(-1, (64, 72))
        # the border cuts the tails: periodic to 3e-3 only; central differences are off by ten times that
        torch.testing.assert_close(self.make().lie(group, x), expected, atol=5e-3, rtol=0)
        assert (Image(padding="border").lie(group, x) - expected).abs().max() > 0.03


class TestQuarterTurnsOfImages(ActionContract):
    subject = Image

    def make(self) -> Action:
        return Image()

    def group(self) -> Group:
        return Cyclic(4)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 2, 7, 7, dtype=torch.float64)


class TestRepresentation(ActionContract):
    subject = Representation
    homomorphism = False

    def make(self) -> Action:
        return Representation()

    def group(self) -> Group:
        return SO(3)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 4, dtype=torch.float64)


class TestPlaneRepresentation(TestRepresentation):
    def make(self) -> Action:
        return Representation(2)
