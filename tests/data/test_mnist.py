"""MNIST is read from torchvision's files, split, and turned; without the files it says what is missing."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
import torchvision.datasets
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_symmetry.cli import main
from lightning_symmetry.data import MNIST
from lightning_symmetry.data.mnist import turn
from lightning_symmetry.exceptions import InvalidFile, InvalidSetting, SymmetryError
from lightning_symmetry.hosts import Classifier

SMALL = {"train_size": 60, "val_size": 20, "test_size": 20, "batch_size": 20}


def write_files(root: Path, packed: bool = False) -> tuple[Tensor, Tensor]:
    """Write made-up digits in the format of MNIST: a bar from the centre to the right, each of its own brightness."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, count in (("train", 90), ("t10k", 100)):
        images = torch.zeros(count, 28, 28, dtype=torch.uint8)
        brightness = torch.arange(count, dtype=torch.uint8) + (101 if name == "t10k" else 1)
        images[:, 13:15, 14:24] = brightness[:, None, None]
        labels = torch.arange(count, dtype=torch.uint8) % 10
        heads = [b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (count, 28, 28))]
        heads += [b"\0\0\x08\x01" + count.to_bytes(4, "big")]
        for kind, head, part in zip(("images-idx3", "labels-idx1"), heads, (images, labels), strict=True):
            content = head + part.numpy().tobytes()
            file = folder / f"{name}-{kind}-ubyte"
            if packed:
                file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(content))
            else:
                file.write_bytes(content)
    return images, labels


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_files(tmp_path)
    return tmp_path


def make(root: Path, **kwargs: object) -> MNIST:
    data = MNIST(str(root), **{**SMALL, **kwargs})
    data.prepare_data()
    data.setup("fit")
    return data


def everything(loader: DataLoader) -> tuple[Tensor, Tensor]:
    x, y = zip(*loader, strict=True)
    return torch.cat(x), torch.cat(y)


def loaders(data: MNIST) -> list[DataLoader]:
    return [data.train_dataloader(), data.val_dataloader(), data.test_dataloader()]


def angles(images: Tensor) -> Tensor:
    """The direction of the bar, from the centre to where its ink lies; radians, x (right) towards y (down)."""
    places = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    return torch.atan2((images.sum(3) * places).sum((1, 2)), (images.sum(2) * places).sum((1, 2)))


def test_missing_files_are_told_before_training(tmp_path: Path) -> None:
    module = Classifier()
    trainer = L.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, accelerator="cpu")
    with pytest.raises(InvalidFile, match=f"no t10k-images-idx3-ubyte.*{tmp_path}.*--data.init_args.root"):
        trainer.fit(module, datamodule=MNIST(str(tmp_path)))
    assert trainer.global_step == 0 and not list(tmp_path.iterdir())


def test_the_command_line_tells_it_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--data.init_args.root", "nowhere", "--trainer.enable_progress_bar", "false"]
    assert main(["run", "semola_mnist", *arguments]) == 2
    told = capsys.readouterr().err
    assert "nowhere/MNIST/raw" in told and "Traceback" not in told


def test_torchvision_reads_the_same(root: Path) -> None:
    theirs = torchvision.datasets.MNIST(str(root), train=False)
    data = make(root, degrees=0, fresh=False)
    x, y = (torch.cat(parts) for parts in zip(*(everything(loader) for loader in loaders(data)), strict=True))
    order, their_order = x.amax((1, 2, 3)).argsort(), theirs.data.amax((1, 2)).argsort()
    assert torch.equal(y[order], theirs.targets[their_order])
    ratio = x[order, 0].sum((1, 2)) / theirs.data[their_order].sum((1, 2))
    torch.testing.assert_close(ratio, ratio[:1].expand(100))


def test_packed_and_unpacked_files_are_the_same(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    packed = tmp_path_factory.mktemp("packed")
    write_files(packed, packed=True)
    for ours, theirs in zip(loaders(make(root)), loaders(make(packed)), strict=True):
        for a, b in zip(everything(ours), everything(theirs), strict=True):
            assert torch.equal(a, b)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    write_files(tmp_path, packed=True)
    file = tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    for content in (file.read_bytes()[:20], b"<html>not found</html>"):
        file.write_bytes(content)
        with pytest.raises(InvalidFile, match=file.name):
            make(tmp_path)


def test_images_and_labels_must_be_as_many(root: Path) -> None:
    file = root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InvalidFile, match="100.*99"):
        make(root)


def test_parts_share_no_digit_and_come_from_the_right_file(root: Path) -> None:
    for split, sizes in (("test", (60, 20, 20)), ("train", (60, 20, 50))):
        data = make(root, degrees=0, split=split, test_size=sizes[2])
        parts = [everything(loader)[0].amax((1, 2, 3)) for loader in loaders(data)]
        assert tuple(map(len, parts)) == sizes
        assert len(torch.cat(parts).unique()) == sum(sizes)
        darkest_of_test = min(p.min() for p in parts) if split == "test" else parts[2].min()
        if split == "train":
            assert torch.cat(parts[:2]).max() < darkest_of_test


def test_more_digits_than_there_are_are_refused(root: Path) -> None:
    with pytest.raises(InvalidFile, match="100 digits, 20 of which are left for 'test'"):
        make(root, test_size=21)


def test_training_is_confined_to_its_angles_and_the_test_is_not(root: Path) -> None:
    data = make(root, degrees=45, test_degrees=180)
    train, val, test = (angles(everything(loader)[0]).abs().max() for loader in loaders(data))
    assert math.radians(30) < min(train, val) and max(train, val) < math.radians(46)
    assert test > math.radians(120)


def test_digits_are_turned_from_right_to_down() -> None:
    digits = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    turned = turn(digits, torch.full((3,), math.pi / 2))
    for row in range(28):
        for column in range(28):
            # what lay to the right now lies below: (x, y) -> (-y, x)
            torch.testing.assert_close(turned[:, :, column, 27 - row], digits[:, :, row, column], atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [28, 14])
def test_batches_are_images_on_a_background_of_zero(root: Path, size: int) -> None:
    data = make(root, size=size)
    x, y = next(iter(data.train_dataloader()))
    assert (x.shape, x.dtype, y.dtype) == ((20, 1, size, size), torch.float32, torch.int64)
    assert float(x[:, :, 0, 0].abs().max()) == 0
    # averages keep the ink
    assert float(x.mean()) == pytest.approx(float(next(iter(make(root).train_dataloader()))[0].mean()), rel=1e-4)


def test_same_seed_same_data_and_no_global_draws(root: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for a, b, c in zip(*(loaders(make(root, seed=seed)) for seed in (3, 3, 4)), strict=True):
        assert torch.equal(everything(a)[0], everything(b)[0])
        assert not torch.equal(everything(a)[0], everything(c)[0])
    assert torch.equal(torch.get_rng_state(), before)


class Recorder(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.seen.append(batch[0].clone())
        return self.weight.square()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters())


def train(root: Path, epochs: int, resume: Path | None = None, save: Path | None = None, **kwargs: object) -> Recorder:
    module = Recorder()
    trainer = L.Trainer(
        max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    )
    trainer.fit(module, datamodule=MNIST(str(root), **{**SMALL, **kwargs}), ckpt_path=resume, weights_only=False)
    if save is not None:
        trainer.save_checkpoint(save)
    return module


@pytest.mark.parametrize("fresh", [False, True])
def test_fresh_digits_turn_in_every_epoch(fresh: bool, root: Path) -> None:
    seen = train(root, 2, fresh=fresh, batch_size=60).seen
    first, second = ({image.numpy().tobytes() for image in part} for part in seen)
    assert (first == second) is not fresh


def test_a_resumed_run_sees_what_an_unbroken_one_sees(root: Path, tmp_path: Path) -> None:
    unbroken = train(root, 2).seen
    train(root, 1, save=tmp_path / "half.ckpt")
    resumed = train(root, 2, resume=tmp_path / "half.ckpt").seen
    assert len(unbroken) == 6
    for a, b in zip(unbroken[3:], resumed, strict=True):
        assert torch.equal(a, b)


def test_nothing_is_downloaded_unasked(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", lambda self: asked.append(self.root))
    make(root)
    with pytest.raises(SymmetryError):
        make(tmp_path / "empty")
    assert asked == []
    make(root, download=True)
    assert [str(place) for place in asked] == [str(root)]


@pytest.mark.parametrize(
    "kwargs", [{"split": "both"}, {"degrees": 200}, {"test_degrees": -1}, {"train_size": 0}, {"size": 56}]
)
def test_senseless_settings_are_refused(kwargs: dict[str, object]) -> None:
    with pytest.raises(InvalidSetting):
        MNIST("data", **kwargs)
