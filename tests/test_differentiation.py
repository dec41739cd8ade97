from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_symmetry.differentiation import Pullback, differentiate, pair
from lightning_symmetry.exceptions import InvalidSetting

BACKENDS = ["auto", "jvp", "vjp", "difference"]


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def directions() -> Tensor:
    return torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_gives_the_product_with_the_jacobian(
    net: nn.Module, x: Tensor, directions: Tensor, backend: str
) -> None:
    found = differentiate(net, x, {"": directions}, backend)
    oracle = torch.stack([torch.autograd.functional.jacobian(net, row) for row in x])
    expected = torch.einsum("bmd,bkd->bkm", oracle, directions)
    torch.testing.assert_close(found.slopes[""], expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found.values[""], net(x))


@pytest.mark.parametrize("backend", BACKENDS)
def test_structures_go_in_and_out(x: Tensor, directions: Tensor, backend: str) -> None:
    def f(tree: dict[str, Any]) -> dict[str, Any]:
        p, q = tree["p"], tree["q"]
        return {"sum": (p * q).sum(1), "rows": torch.stack([p, q], 1) ** 2, "whole": torch.arange(len(p)), "word": "a"}

    tree = {"p": x, "q": 2 * x, "n": torch.arange(5), "flag": None}
    found = differentiate(f, tree, {"p": directions, "q": -directions}, backend)
    expected = torch.einsum("bkd,bd->bk", directions, 2 * x) - torch.einsum("bkd,bd->bk", directions, x)
    torch.testing.assert_close(found.slopes["sum"], expected, atol=1e-7, rtol=1e-7)
    assert found.slopes["rows"].shape == (5, 4, 2, 3) and "whole" not in found.slopes


def test_few_outputs_go_backwards_and_many_forwards(net: nn.Module, x: Tensor, directions: Tensor) -> None:
    assert differentiate(net, x, {"": directions}).backend == "vjp"
    assert differentiate(net, x, {"": directions[:, :2]}).backend == "jvp"


def test_what_has_no_forward_derivative_goes_backwards() -> None:
    grid = torch.rand(2, 4, 4, 2, dtype=torch.float64) * 1.6 - 0.8
    images = torch.rand(2, 1, 6, 6, dtype=torch.float64)

    def warp(x: Tensor) -> Tensor:
        return F.grid_sample(x, grid[: len(x)].repeat(len(x) // len(grid[: len(x)]), 1, 1, 1), align_corners=False)

    found = differentiate(warp, images, {"": images.unsqueeze(1)}, "auto")
    torch.testing.assert_close(found.slopes[""][:, 0], warp(images))  # a linear map is its own derivative


class Floor(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError("no derivative here")


def test_what_has_no_derivative_at_all_is_differenced(x: Tensor, directions: Tensor) -> None:
    found = differentiate(Floor.apply, x, {"": directions}, "auto")
    assert found.backend == "difference"
    torch.testing.assert_close(found.slopes[""], directions, atol=1e-8, rtol=1e-8)
    with pytest.raises(InvalidSetting, match="difference"):
        differentiate(Floor.apply, x, {"": directions}, "vjp")


def test_a_mistake_of_the_map_comes_out_as_it_is(x: Tensor, directions: Tensor) -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        differentiate(lambda x: x @ torch.ones(7, 7, dtype=x.dtype), x, {"": directions})


def test_fused_attention_is_differentiated() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True).eval()
    tokens, moved = torch.randn(2, 5, 8), torch.randn(2, 3, 5, 8)
    forwards, backwards = (differentiate(layer, tokens, {"": moved}, b).slopes[""] for b in ("jvp", "vjp"))
    torch.testing.assert_close(forwards, backwards, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_works_in_inference_mode(net: nn.Module, x: Tensor, directions: Tensor, backend: str) -> None:
    expected = differentiate(net, x, {"": directions}, "jvp").slopes[""]
    with torch.inference_mode():
        inside = differentiate(net, x.clone(), {"": directions.clone()}, backend).slopes[""]
    torch.testing.assert_close(inside.clone(), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("backend", ["jvp", "difference"])
def test_long_rows_take_turns(
    net: nn.Module, x: Tensor, directions: Tensor, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = differentiate(net, x, {"": directions}, backend).slopes[""]
    monkeypatch.setattr("lightning_symmetry.differentiation.MOST_NUMBERS", x.numel())
    torch.testing.assert_close(differentiate(net, x, {"": directions}, backend).slopes[""], at_once)


def test_all_directions_share_one_forward(net: nn.Module, x: Tensor, directions: Tensor) -> None:
    sizes: list[int] = []

    def f(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return net(x)

    differentiate(f, x, {"": directions}, "jvp")
    assert sizes == [len(x)]
    sizes.clear()
    differentiate(f, x, {"": directions}, "difference")
    assert sorted(sizes) == [len(x), *[len(x) * directions.shape[1]] * 2]


def test_maps_that_cannot_be_vectorised_are_differentiated(net: nn.Module, x: Tensor, directions: Tensor) -> None:
    def noisy(x: Tensor) -> Tensor:
        return net(x) + 0 * torch.zeros(len(x), 2, dtype=x.dtype).normal_()

    found = differentiate(noisy, x, {"": directions}, "jvp")
    torch.testing.assert_close(found.slopes[""], differentiate(net, x, {"": directions}, "jvp").slopes[""])
    torch.testing.assert_close(found.values[""], net(x))


@pytest.mark.parametrize("backend", BACKENDS)
def test_maps_may_write_in_place_and_select_by_content(x: Tensor, directions: Tensor, backend: str) -> None:
    def f(x: Tensor) -> Tensor:
        out = torch.zeros(len(x), 2, dtype=x.dtype)
        out[:, 0] = x.square().sum(1)
        out[:, 1] = torch.where(x[:, 0] > 0, 3 * x[:, 1], x[:, 2]).relu_() if float(x.sum()) < 1e9 else x[:, 0]
        return out

    found = differentiate(f, x, {"": directions}, backend).slopes[""]
    oracle = torch.stack([torch.autograd.functional.jacobian(lambda r: f(r[None])[0], row) for row in x])
    torch.testing.assert_close(found, torch.einsum("bmd,bkd->bkm", oracle, directions), atol=1e-6, rtol=1e-6)


def test_a_pullback_is_the_transpose(net: nn.Module, x: Tensor, directions: Tensor) -> None:
    back = Pullback(net, x, [""])
    z = torch.randn(5, 2, dtype=torch.float64)
    pushed = differentiate(net, x, {"": directions}, "jvp").slopes[""]
    torch.testing.assert_close(pair(back.pull({"": z}), {"": directions}), (pushed * z.unsqueeze(1)).sum(2))


def test_an_unknown_backend_is_refused(net: nn.Module, x: Tensor, directions: Tensor) -> None:
    with pytest.raises(InvalidSetting, match="jvp, vjp"):
        differentiate(net, x, {"": directions}, "sideways")
