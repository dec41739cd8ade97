"""Frames: F(h x) = h F(x), canonical poses, and exact averages."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from lightning_symmetry.exceptions import ActionMismatch, DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import GL, SE, SL, SO, Affine, AffineMap, E, Element, Group, Learned, O
from lightning_symmetry.samplers import Haar, PCAFrames, PointFrames, Polar, Sampler
from lightning_symmetry.symmetrization import average, conjugate, lie_derivative
from lightning_symmetry.symmetry import Symmetry
from lightning_symmetry.testing import SamplerContract

RIGID = [SO(2), SO(3), O(2), O(3), SE(2), SE(3), E(2), E(3)]
EVERY = [
    *[(kind, group) for kind in (PCAFrames, PointFrames, Polar) for group in RIGID],
    *[(PCAFrames, E(4)), (Polar, SE(4)), (Polar, O(5))],
    *[(Polar, group) for group in (GL(2), GL(3), SL(2), SL(3), Affine(2), Affine(3))],
]
IDS = [f"{kind.__name__}-{group.sentence}" for kind, group in EVERY]


class TestPCAFrames(SamplerContract):
    subject = PCAFrames
    any_group = False

    def make(self, group: Group | None = None) -> Sampler:
        return PCAFrames(group)


class TestPCAFramesInSpace(TestPCAFrames):
    def group(self) -> Group:
        return E(3)


class TestPointFrames(SamplerContract):
    subject = PointFrames
    any_group = False

    def make(self, group: Group | None = None) -> Sampler:
        return PointFrames(group)


class TestPointFramesInSpace(TestPointFrames):
    def group(self) -> Group:
        return O(3)


class TestPolar(SamplerContract):
    subject = Polar
    any_group = False

    def make(self, group: Group | None = None) -> Sampler:
        return Polar(group)


class TestPolarOfAffineMaps(TestPolar):
    def group(self) -> Group:
        return Affine(2)


def clouds(dim: int, rows: int = 8, points: int = 10, dtype: torch.dtype = torch.float64) -> Tensor:
    return Rng(5).normal(rows, points, dim, dtype=dtype)


def draw(group: Group, rows: int) -> Element:
    """Elements far from the identity."""
    like = torch.zeros(rows, 1, dtype=torch.float64)
    if isinstance(group, (GL, SL, Affine)):
        return group.exp(0.6 * Rng(7).uniform(rows, group.count, dtype=torch.float64))
    return Haar(group, shift=2.0).sample(like, 1, Rng(7))[0]


def poses(sampler: Sampler, x: Tensor) -> tuple[Tensor, Tensor]:
    """All canonical clouds (B, m, N, d) and their weights."""
    listed = sampler.support(x)
    assert listed is not None
    g, weights = listed
    m = weights.shape[1]
    return g(x.repeat_interleave(m, 0)).unflatten(0, (len(x), m)), weights


@pytest.mark.parametrize(("kind", "group"), EVERY, ids=IDS)
def test_canonical_poses_are_the_same_set_wherever_the_data_lie(kind: type[Sampler], group: Group) -> None:
    assert group.dim is not None
    x = clouds(group.dim)
    here, weights = poses(kind(group), x)
    there, others = poses(kind(group), draw(group, len(x))(x))
    # F(h x) = h F(x) as sets: every pose of the one list is in the other, with its weight
    distance = (here.unsqueeze(2) - there.unsqueeze(1)).abs().amax((-1, -2))
    assert float(distance.amin(2).max()) < 1e-9 and float(distance.amin(1).max()) < 1e-9
    torch.testing.assert_close(weights, others.gather(1, distance.argmin(2)))


@pytest.mark.parametrize(("kind", "group"), EVERY, ids=IDS)
def test_elements_belong_to_the_group(kind: type[Sampler], group: Group) -> None:
    assert group.dim is not None
    listed = kind(group).support(clouds(group.dim))
    assert listed is not None and isinstance(listed[0], AffineMap)
    linear, det = listed[0].linear, torch.linalg.det(listed[0].linear)
    assert (listed[0].offset is not None) == group.affine
    if isinstance(group, SL):
        torch.testing.assert_close(det, torch.ones_like(det))
    if isinstance(group, (SO, SE, GL, Affine)):
        assert bool((det > 0).all())
    elif isinstance(group, (O, E)) and kind is not Polar:
        assert bool((det > 0).any() and (det < 0).any())
    if not isinstance(group, (GL, SL, Affine)):
        torch.testing.assert_close(linear @ linear.mT, torch.eye(group.dim).to(linear).expand_as(linear))


@pytest.mark.parametrize(("group", "count"), [(SO(2), 2), (SE(2), 2), (O(2), 4), (SE(3), 4), (E(3), 8)], ids=str)
def test_the_number_of_principal_frames(group: Group, count: int) -> None:
    listed = PCAFrames(group).support(clouds(group.dim or 0))
    assert listed[1].shape == (8, count)
    drawn, _ = PCAFrames(group).sample(clouds(group.dim or 0), count, Rng(0))
    assert isinstance(drawn, AffineMap)
    # without repetition: as many draws as frames are all of them
    distinct = [len(rows.round(decimals=6).unique(dim=0)) for rows in drawn.linear.unflatten(0, (8, count))]
    assert distinct == [count] * 8


class Net(nn.Module):
    """A map without any symmetry, from (B, N, d) to a number and a vector a point."""

    def __init__(self, dim: int, points: int = 10) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        size = dim * points
        self.weights = [torch.randn(a, b, generator=generator) / a**0.5 for a, b in ((size, 64), (64, 1 + size))]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        first, second = (w.to(x.dtype) for w in self.weights)
        y = torch.tanh(x.flatten(1) @ first + 0.3) @ second  # even and odd parts
        return {"energy": y[:, :1], "forces": y[:, 1:].reshape(x.shape)}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["32", "64"])
@pytest.mark.parametrize(
    ("kind", "group"),
    [(k, g) for k, g in EVERY if g in RIGID],
    ids=[i for i, (_, g) in zip(IDS, EVERY, strict=True) if g in RIGID],
)
def test_any_map_becomes_exactly_equivariant(
    kind: type[Sampler], group: Group, dtype: torch.dtype, tolerance: float
) -> None:
    assert group.dim is not None
    x, net = clouds(group.dim, dtype=dtype), Net(group.dim)
    # float32 frames of a cloud with close axes are as uncertain as their gap: keep to clear cases
    x = x * torch.linspace(1, 2.5, group.dim).to(dtype)
    symmetry = Symmetry(kind(group), "points" if group.affine else "vector", "energy=scalar, forces=vector")
    f = average(net, symmetry)
    g = draw(group, len(x))
    moved = symmetry.move_input(g, x)
    y, there = f(x), f(moved)
    plain = net(x)["energy"] - net(moved)["energy"]
    assert float(plain.abs().max()) > 1e-2
    assert float((there["energy"] - y["energy"]).abs().max()) < tolerance
    assert float((there["forces"] - symmetry.move_output(g, y)["forces"]).abs().max()) < tolerance


def test_a_signed_volume_survives_rotations_and_not_mirrors() -> None:
    x = clouds(3)

    def volume(points: Tensor) -> Tensor:
        return torch.linalg.det(points[:, :3])[:, None]

    rotations = average(volume, Symmetry(PCAFrames(SO(3)), "points", "scalar"))(x)
    torch.testing.assert_close(rotations, volume(x))
    everything = average(volume, Symmetry(PCAFrames(O(3)), "points", "scalar"))(x)
    assert float(everything.abs().max()) < 1e-12


def test_drawing_frames_is_right_on_average() -> None:
    x, net = clouds(3), Net(3)
    symmetry = Symmetry(PCAFrames(O(3)), "points", "energy=scalar, forces=vector")
    exact = average(net, symmetry)(x)["energy"]
    draws = torch.stack([average(net, symmetry, 2, Rng(0, i))(x)["energy"] for i in range(400)])
    # two of eight frames at a time; five standard errors
    error = 5 * draws.std(0) / 20
    assert bool(((draws.mean(0) - exact).abs() < error).all()) and float(draws.std(0).min()) > 1e-3


@pytest.mark.parametrize("kind", [PCAFrames, PointFrames])
def test_unordered_frames_do_not_see_the_order(kind: type[Sampler]) -> None:
    x = clouds(3)
    here, _ = poses(kind(SE(3)), x)
    there, _ = poses(kind(SE(3)), x.flip(1))
    distance = (here.unsqueeze(2) - there.flip(2).unsqueeze(1)).abs().amax((-1, -2))
    assert float(distance.amin(2).max()) < 1e-12


def stretched(amount: float, angle: float) -> Tensor:
    """A whitened cloud of 20 points, stretched along one direction by a small amount."""
    x = clouds(2, rows=1, points=20)
    y = x - x.mean(1, keepdim=True)
    values, axes = torch.linalg.eigh(y.mT @ y)
    y = y @ axes / values.sqrt().unsqueeze(1)
    direction = torch.tensor([[torch.tensor(angle).cos()], [torch.tensor(angle).sin()]], dtype=y.dtype)
    return 4 * y @ (torch.eye(2).to(y) + amount * direction @ direction.T)


def jump(kind: type[Sampler], amount: float) -> float:
    net = Net(2, points=20)
    f = average(lambda x: net(x)["energy"], Symmetry(kind(SO(2)), "points", "scalar"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float((f(stretched(amount, 0.0)) - f(stretched(amount, torch.pi / 4))).abs())


def test_principal_frames_jump_where_axes_are_equal_and_weighted_ones_do_not() -> None:
    amounts = (1e-2, 1e-3, 1e-6)
    plain, weighted = ([jump(kind, a) for a in amounts] for kind in (PCAFrames, PointFrames))
    assert min(plain) > 1e-3 and plain[2] > 0.5 * plain[0]
    assert weighted[1] < 0.15 * weighted[0] and weighted[2] < 1e-5


def test_equal_axes_are_warned_of() -> None:
    square = torch.tensor([[[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]]])
    with pytest.warns(UserWarning, match="1 of 1 samples.*PointFrames"):
        PCAFrames(SO(2)).support(square)
    with pytest.warns(UserWarning, match="plane or on a line"):
        Polar(GL(2)).support(torch.tensor([[[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PointFrames(SO(2)).support(square)


@pytest.mark.parametrize(
    "cloud", [torch.zeros(1, 5, 3), torch.ones(1, 5, 3), torch.arange(5.0).reshape(1, 5, 1) * torch.ones(3)]
)
def test_weighted_frames_are_finite_on_clouds_without_shape(cloud: Tensor) -> None:
    x = cloud.double().requires_grad_()
    here, weights = poses(PointFrames(SE(3)), x)
    (here.square() * weights[..., None, None]).sum().backward()
    assert bool(here.isfinite().all()) and x.grad is not None and bool(x.grad.isfinite().all())
    listed = PointFrames(SO(3)).support(x)
    assert listed is not None and isinstance(listed[0], AffineMap)
    linear = listed[0].linear
    torch.testing.assert_close(linear @ linear.mT, torch.eye(3).to(linear).expand_as(linear))


@pytest.mark.parametrize("kind", [PCAFrames, PointFrames, Polar])
def test_forces_of_an_averaged_energy_are_its_gradient(kind: type[Sampler]) -> None:
    net = Net(3)
    energy = average(lambda x: net(x)["energy"], Symmetry(kind(SE(3)), "points", "scalar"))
    x = clouds(3, rows=2).requires_grad_()
    assert torch.autograd.gradcheck(energy, x, check_undefined_grad=False)
    (slope,) = torch.autograd.grad(energy(x).sum(), x)
    # an invariant energy pushes and twists nothing
    assert float(slope.sum(1).abs().max()) < 1e-12
    assert float(torch.linalg.cross(x.detach(), slope).sum(1).abs().max()) < 1e-10


@pytest.mark.parametrize(
    ("kind", "group"), [(PCAFrames, E(3)), (PointFrames, SE(2)), (Polar, SE(3)), (Polar, Affine(2))]
)
def test_the_lie_derivative_of_an_average_vanishes(kind: type[Sampler], group: Group) -> None:
    net = Net(group.dim or 0)
    symmetry = Symmetry(kind(group), "points", "scalar")
    x = clouds(group.dim or 0)
    slope = lie_derivative(average(lambda p: net(p)["energy"], symmetry), x, symmetry)
    assert (
        float(slope.abs().max())
        < 1e-9
        < 1e-2
        < float(lie_derivative(lambda p: net(p)["energy"], x, symmetry).abs().max())
    )


def test_polar_takes_one_forward() -> None:
    calls = []

    def f(x: Tensor) -> Tensor:
        calls.append(len(x))
        return x

    average(f, Symmetry(Polar(SE(3)), "points", "points"))(clouds(3))
    assert calls == [8]


def test_vectors_have_frames_too() -> None:
    symmetry = Symmetry(PCAFrames(SO(2)), "vector(2)", "vector(2)")
    x = Rng(1).normal(5, 6, dtype=torch.float64)
    weight = Rng(2).normal(6, 6, dtype=torch.float64)
    f = average(lambda v: torch.tanh(v @ weight), symmetry)
    g = draw(SO(2), 5)
    torch.testing.assert_close(conjugate(f, g, symmetry)(x), f(x))


def test_what_has_no_frame_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="SO, O, SE or E"):
        PCAFrames(GL(2))
    with pytest.raises(InvalidSetting, match="GL, SL or Affine"):
        Polar(Learned(2, affine=False))
    with pytest.raises(ActionMismatch, match="points or vectors"):
        PCAFrames(SO(2)).support(torch.zeros(2, 1, 8, 8))
    with pytest.raises(DimensionMismatch, match="at most 10"):
        PCAFrames(SO(11)).support(torch.zeros(2, 12, 11))
    with pytest.raises(ActionMismatch, match="at least 4"):
        Polar(E(3)).support(torch.zeros(2, 3, 3))
