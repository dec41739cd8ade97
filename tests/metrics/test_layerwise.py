"""The split over layers: it adds up, agrees with direct derivatives, and finds the layer that breaks the symmetry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_symmetry.actions import Image
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.groups import SE, Translation
from lightning_symmetry.metrics import LayerDerivatives, LieDerivativeError, layerwise_lie_derivative
from lightning_symmetry.metrics.layerwise import BETWEEN
from lightning_symmetry.symmetry import Symmetry
from tests.metrics.test_lie_derivative_error import Pooled, blurred, draw, make_map


def shifts() -> Symmetry:
    return Symmetry(Translation(), Image(gradient="spectral"), "label")


def convolution(channels: int, out: int, **settings: Any) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, padding=1, padding_mode="circular", **settings)


class Branching(nn.Module):
    """A residual sum, a layer that is used twice, one in place, one of two outputs, and operations without modules."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared, self.pair = convolution(1, 4), convolution(4, 4), Pair()
        self.act, self.head = nn.ELU(inplace=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        x = x + torch.tanh(self.shared(x))
        a, b = self.pair(self.shared(x), x)
        return self.head((a * b)[:, :, ::2].mean((2, 3)))


class Pair(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sigmoid(a), b * a.mean((2, 3), keepdim=True)


def attention() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
    return nn.Sequential(nn.Conv2d(1, 8, 4, 4), nn.Flatten(2), Swap(), layer, nn.Flatten(), nn.Linear(8 * 16, 3))


class Swap(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mT


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "pooled": Pooled,
    "dense": lambda: nn.Sequential(nn.Flatten(), nn.Linear(256, 16), nn.Tanh(), nn.Linear(16, 3)),
    "branching": Branching,
    "attention": attention,
}


def split(name: str, **settings: Any) -> tuple[LayerDerivatives, nn.Module, Tensor]:
    torch.manual_seed(0)
    net, x = NETWORKS[name]().double(), blurred(1.5, 12, 16)
    return layerwise_lie_derivative(net, x, shifts(), **settings), net, x


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("chunk", [5, 100])
def test_shares_sum_to_one_and_totals_are_the_lie_derivative(name: str, chunk: int) -> None:
    found, net, x = split(name, probes=2, chunk=chunk)
    torch.testing.assert_close(found.share.sum(0), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-6)
    metric = LieDerivativeError(shifts(), "sq")
    metric.update(net.eval(), x)
    expected = metric.compute()
    for k in range(2):
        assert float(found.total[k]) == pytest.approx(float(expected[f"generator_{k}"]), rel=1e-9)
    assert found.samples == 12 and found.layers[-1] == BETWEEN


@pytest.mark.parametrize("name", ["pooled", "dense"])
def test_where_every_operation_is_a_layer_or_harmless_nothing_lies_between(name: str) -> None:
    """Of `dense` all is a layer; the functional GELU and the mean of `pooled` are what its remainder consists of."""
    found, *_ = split(name, probes=2)
    if name == "dense":
        assert float(found.share[-1].abs().max()) < 1e-10
        assert found.share.argmax(0).tolist() == [0, 0] and found.kinds[0] == "Flatten"
    else:
        assert float(found.share[-1].min()) > 1 - 1e-9


class Residual(nn.Module):
    """Sums of branches, which shifts leave alone, and a layer that is used twice and writes into its input."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.act = convolution(1, 4), nn.Conv2d(4, 4, 3, padding=1), nn.ELU(inplace=True)
        self.flat, self.head = nn.Flatten(), nn.Linear(4 * 256, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        x = x + self.act(self.inner(x))
        x = 0.5 * (x + self.inner(x))
        return self.head(self.flat(x))


def test_branches_and_layers_used_twice_add_up_with_nothing_between() -> None:
    torch.manual_seed(0)
    found = layerwise_lie_derivative(Residual().double(), blurred(1.5, 6, 16), shifts(), probes=2)
    assert found.layers == ("stem", "act", "inner", "flat", "head", BETWEEN)
    assert float(found.share[-1].abs().max()) < 1e-10
    assert float(found.magnitude[-1].max()) < 1e-20 * float(found.total.max())
    assert bool((found.magnitude[[1, 2, 3]] > 0).all()) and float(found.magnitude[0].max()) < 1e-20


def test_layers_that_commute_with_shifts_add_nothing() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        convolution(1, 6),
        nn.BatchNorm2d(6),
        nn.ELU(),
        nn.Conv2d(6, 4, 1),
        nn.AvgPool2d(1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ).double()
    net[1].running_mean.uniform_()
    found = layerwise_lie_derivative(net, blurred(1.0, 12, 16), shifts(), probes=4)
    by_kind = dict(zip(found.kinds, found.magnitude.amax(1).tolist(), strict=True))
    for kind in ("Conv2d", "BatchNorm2d", "AvgPool2d", "AdaptiveAvgPool2d", "Flatten", ""):
        assert by_kind[kind] < 1e-10 * float(found.total.max()) + 1e-25, kind
    # the aliasing of the nonlinearity is all there is
    assert float(found.share[2].min()) == pytest.approx(1.0, abs=1e-9)


def test_magnitudes_are_those_of_direct_derivatives() -> None:
    """Layer by layer with full Jacobians, on a chain."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 49, 4)).double()
    symmetry, x = shifts(), blurred(1.5, 16, 16)
    found = layerwise_lie_derivative(net, x, symmetry, probes=400)
    image = Image(gradient="spectral")
    symmetry.bind(x)
    entering, exact = x, []
    for i, layer in enumerate(net):
        leaving = layer(entering).detach()
        field_in = image.lie(symmetry.group, entering) if entering.ndim == 4 else None
        field_out = image.lie(symmetry.group, leaving) if leaving.ndim == 4 else None
        sizes = []
        for k in range(2):
            term = torch.zeros_like(leaving)
            if field_in is not None:
                term = torch.func.jvp(layer, (entering,), (field_in[:, k],))[1].detach()
            term = term if field_out is None else term - field_out[:, k]
            carried = torch.func.jvp(net[i + 1 :], (leaving,), (term,))[1].detach() if i + 1 < len(net) else term
            sizes.append(carried.square().sum(1))
        exact.append(torch.stack(sizes, 1))
        entering = leaving
    direct = torch.stack(exact).mean(1)
    # the standard error is over samples; on the same samples probes alone leave sqrt(2 / (400 * 16)), two percent
    torch.testing.assert_close(found.magnitude[:-1], direct, rtol=0.1, atol=1e-12)
    assert bool(((found.magnitude[:-1] - direct).abs() <= 2 * found.magnitude_se[:-1] + 1e-12).all())


def test_the_layer_that_breaks_the_symmetry_is_found() -> None:
    """Strided downsampling without a filter, in an otherwise smooth network."""
    torch.manual_seed(0)
    net = nn.Sequential(
        convolution(1, 4),
        nn.Softplus(),
        nn.AvgPool2d(1),
        convolution(4, 4, stride=4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ).double()
    found = layerwise_lie_derivative(net, blurred(1.0, 8, 16), shifts(), probes=8)
    assert found.layers[int(found.magnitude[:, 0].argmax())] == "3"
    assert float(found.share[3].min()) > 0.9


def test_tokens_move_when_told_and_not_before() -> None:
    """Attention without positions treats tokens alike; the patches' embedding is what leaks."""
    guessed, net, x = split("attention", probes=2)
    told = layerwise_lie_derivative(net, x, shifts(), features={r"^(2|3\.)": "tokens(gradient='spectral')"}, probes=2)
    assert guessed.layers == told.layers
    embedding = [dict(zip(f.layers, f.magnitude[:, 0].tolist(), strict=True)) for f in (guessed, told)]
    # untold, the transposition to tokens seems to forget where the content is
    assert embedding[0]["1"] > 0 and embedding[1]["2"] != embedding[0]["2"]
    for found in (guessed, told):
        torch.testing.assert_close(found.share.sum(0), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-6)


def test_layers_are_chosen_by_name_and_kind() -> None:
    assert split("branching", layers="^(stem|head)$", probes=1)[0].layers == ("stem", "head", BETWEEN)
    assert split("branching", kinds=["Conv2d"], probes=1)[0].layers == ("stem", "shared", BETWEEN)
    whole = split("attention", layers=r"^3$", probes=1)[0]
    assert whole.kinds == ("TransformerEncoderLayer", "")
    with pytest.raises(InvalidSetting, match="or kinds of Branching, Conv2d"):
        split("branching", kinds=["Conv3d"])
    with pytest.raises(InvalidSetting, match="positive"):
        split("branching", probes=0)


def test_the_network_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(Branching(), nn.Dropout(0.5), nn.BatchNorm1d(3)).double(), blurred(1.5, 6, 16)
    net.train()
    net[1].eval()
    before = {name: (set(vars(m)), m.training, len(m._forward_hooks)) for name, m in net.named_modules()}
    weights, kept, state = {k: v.clone() for k, v in net.state_dict().items()}, x.clone(), torch.get_rng_state()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        layerwise_lie_derivative(net, x, shifts(), probes=1)
    assert before == {name: (set(vars(m)), m.training, len(m._forward_hooks)) for name, m in net.named_modules()}
    assert all(torch.equal(weights[k], v) for k, v in net.state_dict().items())
    assert torch.equal(x, kept) and torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in net.parameters())


def test_frozen_weights_do_not_matter() -> None:
    found, *_ = split("dense", probes=2)
    torch.manual_seed(0)
    net = NETWORKS["dense"]().double().requires_grad_(False)
    again = layerwise_lie_derivative(net, blurred(1.5, 12, 16), shifts(), probes=2)
    assert torch.equal(found.magnitude, again.magnitude) and torch.equal(found.share, again.share)


class Cloud(nn.Module):
    """Points to vectors, with an exactly equivariant first layer and a second that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.centre, self.mix = Centre(), make_map(2)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        p = self.centre(x["pos"], x["batch"])
        return p * p.norm(dim=1, keepdim=True) + 0.1 * self.mix(p)


class Centre(nn.Module):
    def forward(self, p: Tensor, owner: Tensor) -> Tensor:
        count = int(owner.max()) + 1
        sizes = torch.bincount(owner).unsqueeze(1)
        return p - (p.new_zeros(count, p.shape[1]).index_add(0, owner, p) / sizes)[owner]


def test_graphs_and_vectors_are_split_too() -> None:
    x = {"pos": draw(9, 2), "batch": torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2])}
    symmetry = Symmetry(SE(), {"pos": "points"}, "vector(2)")
    found = layerwise_lie_derivative(
        Cloud(), x, symmetry, features={"centre": "vector(2)", "mix": "vector(2)"}, probes=4
    )
    torch.testing.assert_close(found.share.sum(0)[:1], torch.ones(1, dtype=torch.float64), rtol=0, atol=1e-6)
    rotation = dict(zip(found.layers, found.magnitude[:, 0].tolist(), strict=True))
    assert rotation["centre"] < 1e-20 < 1e-6 < rotation["mix.2"] + rotation["mix.0"] + rotation["mix.1"]
    assert found.samples == 3 and float(found.total[1:].max()) < 1e-20


def test_layers_without_a_forward_derivative_are_differenced() -> None:
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return F.softplus(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return g * torch.sigmoid(ctx.saved_tensors[0])

    class Layer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Own.apply(x)

    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Softplus(), nn.Flatten(), nn.Linear(2 * 196, 2)).double()
    second = nn.Sequential(first[0], Layer(), *first[2:])
    a, b = (layerwise_lie_derivative(net, blurred(1.5, 4, 16), shifts(), probes=2) for net in (first, second))
    torch.testing.assert_close(a.share, b.share, rtol=1e-5, atol=1e-7)
