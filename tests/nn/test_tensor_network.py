"""The tensor network: what it keeps once its weights commute, and that its products do what they say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.equivariant_maps import EquivariantMaps
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.tensor_types import count_numbers, read_types
from lightning_symmetry.losses.blocks import find_maps
from lightning_symmetry.losses.layers import find_layers
from lightning_symmetry.losses.matrices import Matrices
from lightning_symmetry.nn import GatedTensorNetwork
from lightning_symmetry.nn.tensor_network import _Products
from lightning_symmetry.symmetry import Symmetry

IN, OUT = "5x0 + 5x1", "2x0 + 1x1 + 1x2 + 1x1p"


def network(**settings: object) -> GatedTensorNetwork:
    torch.manual_seed(0)
    net = GatedTensorNetwork(IN, OUT, "6x0 + 4x1 + 3x2", layers=3, **settings).double()  # type: ignore[arg-type]
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.bias, std=0.3)
    return net


def project(net: nn.Module, symmetry: Symmetry) -> None:
    """Replace all weights and biases by their projections."""
    matrices = Matrices.of(symmetry.group)
    maps = EquivariantMaps(matrices.generators, matrices.elements)
    for typed in find_layers(net, symmetry):
        for name, blocks in find_maps(typed, matrices, maps, bias=True).items():
            parameter = getattr(typed.layer, name)
            flat = parameter.data.flatten()
            for block in blocks:
                flat[block.index] = flat[block.index] @ block.basis @ block.basis.mT
            parameter.data = flat.view_as(parameter)


def error(net: nn.Module, symmetry: Symmetry, x: Tensor) -> float:
    g, _ = symmetry.sample(x, 1, Rng(3))
    with torch.no_grad():
        expected = symmetry.move_output(g, net(x))
        return float((net(symmetry.move_input(g, x)) - expected).norm() / expected.norm())


@pytest.mark.parametrize("group", ["O(3)", "SO(3)", "about(x, mirrors=True)", "tilts(z)"])
@pytest.mark.parametrize("homogeneous", [False, True])
def test_with_commuting_weights_the_network_is_equivariant(group: str, homogeneous: bool) -> None:
    net = network(leak=0.0, homogeneous=homogeneous)
    symmetry = Symmetry.parse(f"{group} on tensors('{IN}') -> tensors('{OUT}')")
    x = Rng(0).normal(6, 20, dtype=torch.float64)
    symmetry.bind(x, net(x))
    assert error(net, symmetry, x) > 0.1
    project(net, symmetry)
    assert error(net, symmetry, x) < 1e-12


def test_homogeneous_products_keep_scalings_and_others_do_not() -> None:
    symmetry = Symmetry.parse(f"SO(3) * scale on tensors('{IN}') -> tensors('{OUT}')")
    x = Rng(0).normal(6, 20, dtype=torch.float64)
    errors = []
    for homogeneous in (True, False):
        net = network(leak=0.0, homogeneous=homogeneous)
        symmetry.bind(x, net(x))
        project(net, symmetry)
        errors.append(error(net, symmetry, x))
    assert errors[0] < 1e-12
    # the products are small at first
    assert errors[1] > 1e-5


def test_what_leaks_is_no_tensor() -> None:
    symmetry = Symmetry.parse(f"SO(3) on tensors('{IN}') -> tensors('{OUT}')")
    x = Rng(0).normal(6, 20, dtype=torch.float64)
    net = network(leak=0.1)
    symmetry.bind(x, net(x))
    project(net, symmetry)
    assert error(net, symmetry, x) > 1e-4
    assert float(net.leakage()) == pytest.approx(2 * 45 * 0.01)


def test_products_are_contractions_of_neighbours() -> None:
    products = _Products(read_types("2x1 + 1x2"), 3, homogeneous=False)
    assert products.pairs == [(1, 1, 0), (2, 1, 1), (2, 2, 1)]
    with torch.no_grad():
        for rank, mixing in products.mixing.items():
            mixing.copy_(torch.arange(1.0, mixing.numel() + 1).view_as(mixing))
            assert mixing.shape == {"1": (2, 1), "2": (1, 3)}[rank]
    u, v, a = Rng(0).normal(4, 3), Rng(1).normal(4, 3), Rng(2).normal(4, 3, 3)
    found = products(torch.cat((u, v, a.flatten(1)), 1))
    turned = torch.einsum("bij,bj->bi", a, u)
    outer = torch.einsum("bi,bj->bij", u, v) + 2 * torch.einsum("bi,bj->bij", v, u)
    expected = torch.cat((turned, 2 * turned, (outer + 3 * a @ a).flatten(1)), 1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("hidden", ["4x1", "7x0", "3x2 + 4x0 + 2x2", "2x1 + 1x3"])
def test_any_hidden_types_will_do(hidden: str) -> None:
    net = GatedTensorNetwork("2x1", "1x0", hidden, layers=3)
    x = torch.randn(4, 6)
    net(x).sum().backward()
    assert net(x).shape == (4, 1)
    assert all(p.grad is not None for name, p in net.named_parameters() if "linear" in name)


def test_the_network_tells_the_types_of_its_layers() -> None:
    net = GatedTensorNetwork("5x0 + 5x1", "1x2", 128, layers=4)
    for name, words in net.types().items():
        layer = net.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        into, out = (count_numbers(read_types(side), 3) for side in words.split(" -> "))
        assert (layer.in_features, layer.out_features) == (into, out)
    assert len(net.types()) == 4
    assert torch.equal(GatedTensorNetwork("2x1", "1x0", layers=1).leakage(), torch.zeros(()))


def test_pseudo_tensors_and_no_layers_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="without p"):
        GatedTensorNetwork("2x1", "1x0", "2x1p")
    with pytest.raises(InvalidSetting, match="layers=0"):
        GatedTensorNetwork("2x1", "1x0", layers=0)
