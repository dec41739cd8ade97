"""The data have the symmetry that they say they have, told by plain loops."""

from __future__ import annotations

import math

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_symmetry.data import (
    BrokenVectors,
    KnownSymmetry,
    PlanarVectors,
    PointClouds,
    RotatedDigits,
    SpatialVectors,
    TwoBody,
)
from lightning_symmetry.data.digits import draw_digits
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng

ALL = [PlanarVectors, SpatialVectors, BrokenVectors, RotatedDigits, TwoBody, PointClouds]
VECTORS = [PlanarVectors, SpatialVectors, TwoBody, PointClouds]


def make(kind: type[KnownSymmetry], **kwargs: object) -> KnownSymmetry:
    data = kind(**kwargs)
    data.setup("fit")
    return data


def everything(loader: DataLoader) -> tuple[Tensor, Tensor]:
    x, y = zip(*loader, strict=True)
    return torch.cat(x), torch.cat(y)


def rotation(angle: float) -> Tensor:
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def move(g: Tensor, x: Tensor) -> Tensor:
    """Move the vectors that a row is made of, one after the other."""
    d = len(g)
    rows = []
    for row in x:
        rows.append(torch.cat([g @ row[i : i + d] for i in range(0, len(row), d)]))
    return torch.stack(rows)


def violation(data: KnownSymmetry, g: Tensor) -> float:
    x = everything(data.test_dataloader())[0][:50]
    return float((data.target(move(g, x)) - move(g, data.target(x))).abs().max())


def test_plane_has_rotations_and_no_other_linear_symmetry() -> None:
    data = make(PlanarVectors)
    assert violation(data, rotation(0.7)) < 1e-5
    for generator in ([[1.0, 0], [0, 1]], [[1.0, 0], [0, -1]], [[0.0, 1], [1, 0]]):
        assert violation(data, torch.linalg.matrix_exp(0.7 * torch.tensor(generator))) > 0.1


def test_stretched_plane_has_stretched_rotations() -> None:
    data = make(PlanarVectors, stretch=2.0)
    stretch = torch.diag(torch.tensor([1.0, 2.0]))
    assert violation(data, stretch @ rotation(0.7) @ stretch.inverse()) < 1e-5
    assert violation(data, rotation(0.7)) > 0.1
    truth = data.truth()
    x = everything(data.test_dataloader())[0][:50]
    truth.bind(x, data.target(x))
    g = truth.group.exp(torch.full((50, 1), 0.7))
    torch.testing.assert_close(truth.move_output(g, data.target(x)), data.target(truth.move_input(g, x)))


def test_space_has_rotations_but_not_reflections() -> None:
    data = make(SpatialVectors)
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))
    q = q * q.det().sign()
    assert violation(data, q) < 1e-5
    assert violation(data, -q) > 0.1  # the cross product is a pseudovector


def test_broken_vectors_obey_no_generator() -> None:
    data = make(BrokenVectors)
    assert data.truth() is None
    for index in range(4):
        generator = torch.zeros(4).index_fill_(0, torch.tensor(index), 1.0).reshape(2, 2)
        assert violation(data, torch.linalg.matrix_exp(0.5 * generator)) > 0.1
    assert violation(data, rotation(0.7)) > 0.1


@pytest.mark.parametrize("kind", VECTORS)
def test_target_of_what_the_truth_moves_is_what_it_makes_of_the_target(kind: type[KnownSymmetry]) -> None:
    data = make(kind)
    x, y = (part[:64] for part in everything(data.test_dataloader()))
    truth = data.truth().bind(x, y)
    g, _ = truth.sample(x, 1, Rng(0))
    # float32 over 25 steps; a close encounter of two bodies amplifies rounding
    torch.testing.assert_close(data.target(truth.move_input(g, x)), truth.move_output(g, y), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", [*VECTORS, RotatedDigits])
def test_truth_moves_the_data(kind: type[KnownSymmetry]) -> None:
    data = make(kind)
    x, y = (part[:4] for part in everything(data.test_dataloader()))
    truth = data.truth().bind(x, y)
    assert truth.group.count == (3 if kind in (SpatialVectors, PointClouds) else 1)
    g = truth.group.exp(torch.full((4, truth.group.count), 0.3))
    assert truth.move_input(g, x).shape == x.shape
    assert truth.move_output(g, y).shape == y.shape


@pytest.mark.parametrize("kind", [PlanarVectors, SpatialVectors, PointClouds])
def test_targets_have_unit_variance(kind: type[KnownSymmetry]) -> None:
    y = everything(make(kind, samples=20000).train_dataloader())[1]
    assert float(y.pow(2).mean().sqrt()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("points", [3, 30])
def test_clouds_are_centred_and_their_targets_have_unit_variance_for_any_number_of_points(points: int) -> None:
    x, y = everything(make(PointClouds, points=points, samples=20000).train_dataloader())
    assert x.shape == (20000, points, 3) and float(x.mean(1).abs().max()) < 1e-6
    assert float(y.pow(2).mean().sqrt()) == pytest.approx(1, abs=0.05)  # sixth moments of 20,000 clouds


def test_clouds_have_rotations_and_no_other_linear_symmetry() -> None:
    data = make(PointClouds)
    x = everything(data.test_dataloader())[0][:50].double()
    # D target(x) L x = L target(x) is linear in the 9 entries of L
    columns = []
    for k in range(9):
        generator = torch.zeros(9, dtype=torch.float64).index_fill_(0, torch.tensor(k), 1.0).reshape(3, 3)
        _, slope = torch.func.jvp(data.target, (x,), (x @ generator.mT,))
        columns.append((slope - data.target(x) @ generator.mT).flatten())
    _, sizes, rows = torch.linalg.svd(torch.stack(columns, 1), full_matrices=False)
    assert sizes[-3] < 1e-9 * sizes[0] and sizes[-4] > 1e-2 * sizes[0]
    found = rows[-3:].reshape(3, 3, 3)
    torch.testing.assert_close(found, -found.mT)


def test_order_of_the_points_does_not_matter() -> None:
    data = make(PointClouds)
    x, y = everything(data.test_dataloader())
    torch.testing.assert_close(data.target(x.flip(1)), y)


def test_sector_confines_training_but_not_the_test() -> None:
    data = make(PlanarVectors, sector_degrees=45, samples=200)
    angle = lambda x: torch.atan2(x[:, 1], x[:, 0]).abs().max()  # noqa: E731
    assert len(everything(data.train_dataloader())[0]) == 200
    assert float(angle(everything(data.train_dataloader())[0])) <= math.radians(45) + 1e-6
    assert float(angle(everything(data.test_dataloader())[0])) > 3


@pytest.mark.parametrize("kind", ALL)
def test_same_seed_same_data_and_no_global_draws(kind: type[KnownSymmetry]) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again, other = (make(kind, seed=seed) for seed in (3, 3, 4))
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        a, b, c = (everything(getattr(data, loader)())[0] for data in (first, again, other))
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ALL)
def test_every_epoch_deals_every_sample_in_a_new_order(kind: type[KnownSymmetry]) -> None:
    loader = make(kind).train_dataloader()
    orders = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        orders.append(everything(loader)[0].flatten(1))
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0].sum(1).sort().values, orders[1].sum(1).sort().values)


def test_digits_are_turned_from_right_to_down() -> None:
    digits = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    upright, turned = (draw_digits(digits, 16, torch.full((3,), angle)) for angle in (0.0, math.pi / 2))
    for row in range(16):
        for column in range(16):
            # what lay to the right now lies below: (x, y) -> (-y, x)
            torch.testing.assert_close(turned[:, :, column, 15 - row], upright[:, :, row, column], atol=1e-4, rtol=0)


def test_digits_come_in_batches_of_images_and_labels() -> None:
    data = make(RotatedDigits)
    x, y = next(iter(data.train_dataloader()))
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((100, 1, 16, 16), torch.float32, (100,), torch.int64)
    x, y = everything(data.train_dataloader())
    assert float(x.pow(2).mean().sqrt()) == pytest.approx(1, abs=0.05)
    assert float(x[:, :, 0, 0].abs().max()) == 0  # the background continues under zero padding
    assert sorted(set(y.tolist())) == list(range(10))
    sizes = [len(everything(loader)[1]) for loader in (data.val_dataloader(), data.test_dataloader())]
    assert sizes == [297, 500]


def test_upright_digits_keep_their_ink_when_turned() -> None:
    upright, turned = (everything(make(RotatedDigits, degrees=d).val_dataloader())[0] for d in (0, 180))
    ratio = turned.sum((1, 2, 3)) / upright.sum((1, 2, 3))
    assert 0.95 < float(ratio.min()) and float(ratio.max()) < 1.05


def test_splits_share_no_digit() -> None:
    data = make(RotatedDigits, degrees=0)
    loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    images = torch.cat([everything(loader)[0] for loader in loaders])
    assert len(images) == 1797
    # scikit-learn's digits hold no duplicates
    assert len({image.numpy().tobytes() for image in images}) == 1797


class Recorder(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.seen.append(batch[0].clone())

    def configure_optimizers(self) -> None:
        return None


@pytest.mark.parametrize("fresh", [False, True])
def test_fresh_digits_turn_in_every_epoch(fresh: bool, tmp_path: object) -> None:
    module = Recorder()
    trainer = L.Trainer(
        max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    )
    trainer.fit(module, datamodule=RotatedDigits(samples=50, fresh=fresh))
    first, second = ({image.numpy().tobytes() for image in part} for part in module.seen)
    assert (first == second) is not fresh


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        (PlanarVectors, {"stretch": 0}),
        (PlanarVectors, {"sector_degrees": 200}),
        (SpatialVectors, {"samples": 0}),
        (BrokenVectors, {"batch_size": 0}),
        (RotatedDigits, {"samples": 1001}),
        (PointClouds, {"points": 2}),
        (PointClouds, {"samples": 0}),
    ],
)
def test_senseless_settings_are_refused(kind: type[KnownSymmetry], kwargs: dict[str, object]) -> None:
    with pytest.raises(InvalidSetting):
        kind(**kwargs)
