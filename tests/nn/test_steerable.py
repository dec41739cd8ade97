"""Networks of escnn's layers answer moved data with the moved answer, whatever the basis that was discovered."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_symmetry import Symmetry
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SO, Given
from lightning_symmetry.hosts import SteerableClassifier, SteerableRegressor
from lightning_symmetry.nn import SteerableCNN, SteerableMLP
from lightning_symmetry.samplers import Uniform

TURN = SO(2).basis()[0]
STRETCH = torch.tensor([[1.5, 0.3, 0.0], [0.2, 0.8, 0.1], [0.0, 0.4, 1.0]])


@pytest.mark.parametrize("host", [lambda: SteerableClassifier("C4 on image -> label"), lambda: SteerableMLP("")])
def test_a_missing_escnn_is_said_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, host: object
) -> None:
    monkeypatch.setitem(sys.modules, "escnn", None)
    with pytest.raises(InvalidSetting, match="Steerable... without escnn.*pip install --no-deps escnn"):
        host()


@pytest.fixture(autouse=True)
def escnn(request: pytest.FixtureRequest) -> None:
    if "missing" not in request.node.name:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pytest.importorskip("escnn")


def error(symmetry: Symmetry | str, net: torch.nn.Module, x: Tensor) -> float:
    """How far the answer to moved data is from the moved answer, relative to how answers differ."""
    symmetry = Symmetry.of(symmetry)
    with torch.no_grad():
        y = net(x)
        symmetry.bind(x, y)
        g, _ = symmetry.sample(x, 1, Rng(3))
        change = net(symmetry.move_input(g, x)) - symmetry.move_output(g, y)
        return float(change.norm() / (y - y.mean(0)).norm())


def conjugate(basis: Tensor, change: Tensor) -> Tensor:
    return change @ basis @ torch.linalg.inv(change)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "symmetry", ["C1 on vector -> scalar", "C5 on vector -> vector", "D4 on vector -> pseudoscalar"]
)
def test_finite_groups_are_exact_on_vectors(symmetry: str) -> None:
    torch.manual_seed(0)
    assert error(symmetry, SteerableMLP(symmetry, 2, 2), torch.randn(50, 4)) < 1e-5


def continuous() -> list[tuple[Symmetry | str, int, int]]:
    law = Uniform(Given(conjugate(SO(2).basis(), STRETCH[:2, :2]), affine=False), width=3.0)
    axis = Uniform(Given(conjugate(SO(3).basis()[:1], STRETCH), affine=False), width=3.0)
    return [
        ("SO(2) on vector -> vector", 2, 2),
        ("O(2) on vector -> scalar", 2, 2),
        ("SO(3) on vector -> vector", 2, 3),
        (Symmetry(law, "vector", "vector"), 2, 2),
        (Symmetry(axis, "vector", "vector"), 2, 3),
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("symmetry", "inputs", "dim"), continuous(), ids=lambda value: str(value)[:24])
def test_continuous_groups_are_nearly_exact_on_vectors(symmetry: Symmetry | str, inputs: int, dim: int) -> None:
    """What is left is the sampling of the nonlinearity: a few percent where a plain network has about 1."""
    torch.manual_seed(0)
    x = torch.randn(50, inputs * dim)
    net = SteerableMLP(symmetry, inputs, 2)
    assert error(symmetry, net, x) < 0.05
    finer = SteerableMLP(symmetry, inputs, 2, frequency=4) if dim == 2 else None
    assert finer is None or error(symmetry, finer, x) < 0.02


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("symmetry", ["C4 on points(2) -> scalar", "SE(3) on points(3) -> points(3)"])
def test_sets_of_points_are_answered_whatever_their_order(symmetry: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(30, 7, 3 if "3" in symmetry else 2)
    net = SteerableMLP(symmetry)
    assert error(symmetry, net, x) < 0.02
    with torch.no_grad():
        torch.testing.assert_close(net(x.flip(1)), net(x), atol=1e-5, rtol=0)
    with pytest.raises(ActionMismatch, match="\\(B, N, d\\)"):
        net(x[:, 0])


@pytest.mark.filterwarnings("ignore")
def test_points_turn_about_the_centre_that_was_found() -> None:
    torch.manual_seed(0)
    generator = torch.zeros(1, 3, 3)
    generator[0, :2, :2], generator[0, :2, 2] = TURN, torch.tensor([1.0, 2.0])
    symmetry = Symmetry(Uniform(Given(generator, affine=True), width=3.0), "points", "points")
    assert error(symmetry, SteerableMLP(symmetry, frequency=4), torch.randn(30, 5, 2)) < 0.05


def draw_images() -> Tensor:
    images = torch.zeros(8, 1, 16, 16)
    images[:, :, 4:12, 4:12] = Rng(0).normal(8, 1, 8, 8)
    return torch.nn.functional.avg_pool2d(images, 3, 1, 1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("built", "tried", "bound"),
    [
        ("C4 on image -> label", "C4 on image -> label", 1e-4),
        ("D4 on image -> vector", "D4 on image -> vector", 1e-4),
        ("C8 on image -> label", "C4 on image -> label", 1e-4),
        # quarter turns permute the samples of the nonlinearity and the pixels
        ("SO(2) on image -> label", "C4 on image -> label", 1e-4),
        ("SO(2) on image -> vector", "C4 on image -> vector", 1e-4),
        # untrained, and on noise of single pixels; the interpolation of the moved image is in it
        ("SO(2) on image -> label", "SO(2) on image -> label", 0.2),
    ],
)
def test_images_are_answered_as_they_are_turned(built: str, tried: str, bound: float) -> None:
    torch.manual_seed(0)
    assert error(tried, SteerableCNN(built, 3), draw_images()) < bound


@pytest.mark.filterwarnings("ignore")
def test_the_state_does_not_depend_on_the_mode() -> None:
    torch.manual_seed(0)
    net, other = SteerableCNN("C4 on image -> label", 3), SteerableCNN("C4 on image -> label", 3)
    x = draw_images()
    for saved, loaded in ((net.eval(), other.train()), (net.train(), other.eval())):
        loaded.load_state_dict(saved.state_dict())
        with torch.no_grad():
            torch.testing.assert_close(loaded(x), saved(x))


@pytest.mark.filterwarnings("ignore")
def test_a_discovered_rotation_is_built_in(tmp_path: Path) -> None:
    learnt = Given([[[0.02, -2.3, 0.01], [2.25, 0.0, -0.02], [0.0, 0.0, 0.0]]], affine=True)
    Symmetry(learnt, "image", "label").save(tmp_path)
    torch.manual_seed(0)
    host = SteerableClassifier(str(tmp_path), classes=3)
    assert error("C4 on image -> label", host, draw_images()) < 1e-4


@pytest.mark.filterwarnings("ignore")
def test_what_the_networks_are_not_made_for_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="image -> label, scalar or vector"):
        SteerableCNN("C4 on image -> mask")
    with pytest.raises(InvalidSetting, match="SteerableCNN for images"):
        SteerableMLP("C4 on image -> label")
    with pytest.raises(InvalidSetting, match="one input and one output"):
        SteerableMLP("C4 on a=vector, b=vector -> scalar")
    with pytest.raises(InvalidSetting, match="odd kernel"):
        SteerableCNN("C4 on image -> label", kernel=4)
    with pytest.raises(ActionMismatch, match="divisible by 4"):
        SteerableCNN("C4 on image -> label")(torch.zeros(1, 1, 15, 15))
    with pytest.raises(InvalidSetting, match="stretches"):
        SteerableClassifier("scale on image -> label")


@pytest.mark.filterwarnings("ignore")
def test_a_regressor_learns_the_rotations_of_space_from_few_samples() -> None:
    torch.manual_seed(0)
    host = SteerableRegressor("SO(3) on vector(3) -> vector(3)", inputs=2)
    x = Rng(0).normal(64, 6)
    y = torch.linalg.cross(x[:, :3], x[:, 3:])
    optimizer = host.configure_optimizers()
    for _ in range(150):
        loss = (host(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fresh = Rng(1).normal(256, 6)
    left = (host(fresh) - torch.linalg.cross(fresh[:, :3], fresh[:, 3:])).square().mean()
    assert float(left) < 0.3 * 2  # the variance of a component is 2
