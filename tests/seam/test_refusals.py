"""What cannot be served is refused early, with the remedy."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_symmetry.balancing import Fixed, Ramp
from lightning_symmetry.callbacks.refusals import refuse_unsupported, refuse_unwritable
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting, SymmetryError, UnsupportedTrainer
from lightning_symmetry.losses import Equivariance, NormReward
from tests.seam.boring import Gap, Host, deal, fit, gap_callback, make_callback, make_data, make_trainer, weights


@pytest.mark.parametrize("name", ["FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy"])
@pytest.mark.parametrize("derived", [False, True])
def test_sharded_parameters(name: str, derived: bool) -> None:
    kind = type(name, (), {})
    kind = type("OwnStrategy", (kind,), {}) if derived else kind
    with pytest.raises(UnsupportedTrainer, match="shards parameters"):
        refuse_unsupported(SimpleNamespace(strategy=kind()), Host())
    refuse_unsupported(SimpleNamespace(strategy=type("DDPStrategy", (), {})()), Host())


class Iterating(Host):
    def training_step(self, dataloader_iter: Any) -> Tensor:
        (x, y), *_ = next(dataloader_iter)
        return (self.net(x) - y).square().mean()


def test_steps_that_take_an_iterator() -> None:
    host = Iterating()
    before = weights(host)
    with pytest.raises(UnsupportedTrainer, match="dataloader_iter"):
        fit(host, gap_callback())
    assert all(torch.equal(v, before[k]) for k, v in weights(host).items())
    assert "training_step" not in vars(host)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_first_batch_that_is_not_finite(bad: float) -> None:
    data = make_data()
    data[0][0][3, 1] = bad
    with pytest.raises(InvalidSetting, match="1 values in the first batch"):
        fit(Host(), gap_callback(), data=deal(data))


def test_a_later_batch_that_is_not_finite_spoils_nothing_of_ours() -> None:
    data = make_data()
    data[1][0][3, 1] = torch.nan
    callback = gap_callback()
    fit(Host(), callback, data=deal(data))
    assert all(v.isfinite().all() for v in callback.symmetries.state_dict().values())


def test_whole_numbers() -> None:
    class Embedding(Host):
        def __init__(self) -> None:
            super().__init__(torch.nn.Embedding(5, 2))

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.net(batch).square().mean()

    with pytest.raises(ActionMismatch, match="int64"):
        fit(Embedding(), make_callback("vector -> vector"), data=deal([torch.zeros(4, 3, dtype=torch.long)]))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidSetting, match="which cannot be written.*default_root_dir"):
        refuse_unwritable(tmp_path / "file" / "symmetry")
    host = Host()
    (tmp_path / "symmetry").write_text("")
    with pytest.raises(InvalidSetting, match="cannot be written"):
        fit(host, gap_callback())
    assert not host.losses and "training_step" not in vars(host)
    fit(Host(), gap_callback(), fast_dev_run=True)  # writes nothing
    refuse_unwritable(tmp_path / "fresh")
    assert not list((tmp_path / "fresh").iterdir())


@pytest.mark.parametrize(
    "settings",
    [
        {"every_n_steps": 0},
        {"every_n_steps": -1},
        {"probability": -0.1},
        {"probability": 1.1},
        {"losses": [Gap()], "balance": [1.0, 2.0]},
        {"losses": [Equivariance(), NormReward(), Gap()], "balance": [1.0, 2.0]},
        {"losses": [Gap()], "balance": Ramp([1.0, 2.0])},
        {"balance": -1.0},
        {"balance": float("nan")},
        {"balance": []},
    ],
    ids=str,
)
def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting):
        make_callback(**settings)


def test_strengths_repeat_for_every_symmetry() -> None:
    pair = ["SO(2) on vector -> vector", "scale on vector -> vector"]
    for losses, strengths in (([Gap()], [1.0, 2.0]), ([Gap(), NormReward()], [1.0, 2.0, 1.0, 2.0])):
        callback = make_callback(pair, losses=losses, balance=Fixed([1.0, 2.0]))
        assert callback.balance.strengths(2 * len(losses), 0) == strengths


@pytest.mark.parametrize("sentence", ["vector", "vector -> nonsense", "nonsense on vector -> vector", 3])
def test_sentences_that_say_nothing(sentence: Any) -> None:
    with pytest.raises(SymmetryError):
        make_callback(sentence)


def test_the_report_folder_of_a_callback_that_was_not_fitted() -> None:
    callback = make_callback()
    with pytest.raises(InvalidSetting, match=r"Trainer\.fit"):
        callback.report_folder  # noqa: B018
    make_trainer(callback).validate(Host(), deal(make_data()), verbose=False)
    with pytest.raises(InvalidSetting):
        callback.report_folder  # noqa: B018
