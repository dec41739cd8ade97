"""Digits are turned, shifted and scaled by what was asked for, and by nothing else."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_symmetry.data import MovedDigits
from lightning_symmetry.data.digits import draw_digits, split_digits
from lightning_symmetry.exceptions import InvalidFile, InvalidSetting
from lightning_symmetry.functional.warp import pixel_coordinates


def everything(loader: DataLoader) -> tuple[Tensor, Tensor]:
    x, y = zip(*loader, strict=True)
    return torch.cat(x), torch.cat(y)


def parts(**kwargs: object) -> list[tuple[Tensor, Tensor]]:
    data = MovedDigits(**kwargs)
    data.setup("fit")
    # in order, so that the same digit of two data sets has the same row
    train = data.parts["train"].__getitems__(range(len(data.parts["train"])))
    return [train, everything(data.val_dataloader()), everything(data.test_dataloader())]


def centres(images: Tensor) -> Tensor:
    """Where the ink lies on average, (B, 2)."""
    ink = images.flatten(1)
    return ink @ pixel_coordinates(*images.shape[-2:]) / ink.sum(1, keepdim=True)


def sizes(images: Tensor) -> Tensor:
    """How far the ink spreads, (B,)."""
    away = (pixel_coordinates(*images.shape[-2:]) - centres(images).unsqueeze(1)).square().sum(-1)
    return ((images.flatten(1) * away).sum(1) / images.flatten(1).sum(1)).sqrt()


def blob(x: float, y: float, size: int = 40, width: float = 0.2) -> Tensor:
    """A round spot in a picture."""
    away = (pixel_coordinates(size, size) - torch.tensor([x, y])).square().sum(-1)
    return torch.exp(-away / (2 * width**2)).reshape(1, 1, size, size)


@pytest.mark.parametrize("fill", [0.5, 1.0])
def test_a_spot_lands_where_scaling_turning_and_shifting_bring_it(fill: float) -> None:
    angle, shift, factor = 0.7, torch.tensor([[0.1, -0.2]]), 0.8
    drawn = draw_digits(blob(0.3, 0.1), 64, torch.tensor([angle]), shift, torch.tensor([factor]), fill)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    expected = fill * factor * turn @ torch.tensor([0.3, 0.1]) + shift[0]
    torch.testing.assert_close(centres(drawn)[0], expected, atol=2e-3, rtol=0)
    assert float(sizes(drawn)) == pytest.approx(fill * factor * float(sizes(blob(0.3, 0.1))), rel=0.02)


def test_unmoved_digits_are_only_enlarged() -> None:
    data = MovedDigits()
    assert data.truth() is None
    (x, y), *_ = parts()
    assert (x.shape, x.dtype, y.dtype) == ((1000, 1, 16, 16), torch.float32, torch.int64)
    assert float(x[:, :, [0, -1]].abs().max()) == 0 and float(x[:, :, :, [0, -1]].abs().max()) == 0
    assert float(x.square().mean().sqrt()) == pytest.approx(1, rel=0.03)


def test_no_two_parts_share_a_digit() -> None:
    images = torch.cat([x for x, _ in parts(held_out=398)])
    assert len(images) == 1796 and len(images.flatten(1).unique(dim=0)) == 1796


def test_shifts_reach_as_far_as_asked_for_and_change_nothing_else() -> None:
    for (still, y), (x, labels) in zip(parts(size=24, fill=0.5), parts(size=24, fill=0.5, translation=3), strict=True):
        assert torch.equal(y, labels)
        pixels = (centres(x) - centres(still)) * 12
        assert 2.9 < float(pixels.abs().max()) <= 3 + 0.05  # resampled ink is no longer centred
        torch.testing.assert_close(sizes(x), sizes(still), atol=0.02, rtol=0)
        # shifts along x and along y are independent
        assert abs(float(torch.corrcoef(pixels.T)[0, 1])) < 5 / math.sqrt(len(x))


def test_factors_reach_as_far_as_asked_for_and_change_nothing_else() -> None:
    for (still, _), (x, _) in zip(parts(size=32), parts(size=32, scale=0.2), strict=True):
        factors = (sizes(x) / sizes(still)).log()
        # resampling spreads the ink of small digits
        assert 0.18 < float(factors.max()) < 0.23 and -0.22 < float(factors.min()) < -0.17
        torch.testing.assert_close(centres(x), centres(still) * factors.exp()[:, None], atol=0.01, rtol=0)


def test_turned_digits_stay_in_the_canvas_and_keep_their_size() -> None:
    for (still, _), (x, _) in zip(parts(size=32), parts(size=32, rotation=180), strict=True):
        torch.testing.assert_close(sizes(x), sizes(still), atol=0.02, rtol=0)
        torch.testing.assert_close(centres(x).norm(dim=1), centres(still).norm(dim=1), atol=0.01, rtol=0)
        torch.testing.assert_close(x.sum((1, 2, 3)), still.sum((1, 2, 3)), atol=0, rtol=0.03)
        assert float((x - still).abs().amax((1, 2, 3)).median()) > 0.5


@pytest.mark.parametrize(
    ("moves", "group", "widths"),
    [
        ({"rotation": 90}, "SO(2)", [math.pi / 2]),
        ({"translation": 4}, "translation", [0.5, 0.5]),
        ({"scale": 0.3}, "scale", [0.3]),
        ({"rotation": 180, "translation": 2, "scale": 0.1}, "SO(2) * translation * scale", [math.pi, 0.25, 0.25, 0.1]),
    ],
)
def test_the_truth_is_what_they_were_moved_by(moves: dict[str, float], group: str, widths: list[float]) -> None:
    truth = MovedDigits(**moves).truth()
    truth.bind(torch.zeros(2, 1, 16, 16), torch.zeros(2, 10))
    assert truth.group.part("space").sentence.replace("(2)", "") == group.replace("(2)", "")
    assert truth.sampler.widths.tolist() == pytest.approx(widths)


def test_fresh_digits_move_in_every_epoch_and_others_do_not() -> None:
    for fresh in (False, True):
        data = MovedDigits(rotation=180, fresh=fresh)
        data.setup("fit")
        seen = []
        for epoch in (0, 1, 0):
            data.trainer = SimpleNamespace(current_epoch=epoch)
            seen.append(data.parts["train"][7][0])
        assert torch.equal(seen[0], seen[2]) and torch.equal(seen[0], seen[1]) is not fresh


def test_same_seed_same_data_and_no_global_draws() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    moves = {"rotation": 30, "translation": 1, "scale": 0.1}
    for a, b, c in zip(*(parts(seed=seed, **moves) for seed in (3, 3, 4)), strict=True):
        assert torch.equal(a[0], b[0]) and not torch.equal(a[0], c[0])
    assert torch.equal(torch.get_rng_state(), before)


def write_mnist(root: Path, count: int) -> None:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    images = torch.zeros(count, 28, 28, dtype=torch.uint8)
    images[:, 10:18, 10:18] = torch.arange(101, 101 + count, dtype=torch.uint8)[:, None, None]
    head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (count, 28, 28))
    (folder / "t10k-images-idx3-ubyte").write_bytes(head + images.numpy().tobytes())
    labels = torch.arange(count, dtype=torch.uint8) % 10
    (folder / "t10k-labels-idx1-ubyte").write_bytes(
        b"\0\0\x08\x01" + count.to_bytes(4, "big") + labels.numpy().tobytes()
    )


@pytest.mark.parametrize("size", [28, 14])
def test_digits_of_mnist_are_read_from_a_root(tmp_path: Path, size: int) -> None:
    write_mnist(tmp_path, 100)
    found = parts(root=str(tmp_path), size=size, fill=1.0, samples=60, held_out=20, translation=4)
    assert [x.shape for x, _ in found] == [(60, 1, size, size), (20, 1, size, size), (20, 1, size, size)]
    for x, _ in found:
        pixels = centres(x) * size / 2
        assert 3.5 < float(pixels.abs().max()) <= 4 + 0.05
    with pytest.raises(InvalidFile, match="100 digits, 40 of which are left for 'train'"):
        parts(root=str(tmp_path), samples=41, held_out=30)


def test_missing_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="no t10k-images-idx3-ubyte"):
        parts(root=str(tmp_path))


def test_parts_are_served_in_turn_from_one_order_a_file() -> None:
    images, labels = torch.arange(10.0), torch.arange(10)
    dealt = split_digits({"a": (images, labels)}, {"one": ("a", 4), "two": ("a", 6)}, seed=1)
    assert sorted(torch.cat([x for x, _ in dealt.values()]).tolist()) == images.tolist()
    assert all(torch.equal(x.long(), y) for x, y in dealt.values())


@pytest.mark.parametrize(
    "kwargs",
    [
        {"rotation": 181},
        {"translation": -1},
        {"scale": -0.1},
        {"size": 7},
        {"root": ".", "size": 32},
        {"fill": 0},
        {"samples": 0},
    ],
)
def test_senseless_settings_are_refused(kwargs: dict[str, object]) -> None:
    with pytest.raises(InvalidSetting):
        MovedDigits(**kwargs)
