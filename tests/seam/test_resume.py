"""A resumed run is the run that was never interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from lightning_symmetry.balancing import Ramp
from lightning_symmetry.callbacks import LearnableAugmentation
from lightning_symmetry.groups import SO
from lightning_symmetry.samplers import Normal
from lightning_symmetry.symmetry import Symmetry
from tests.seam.boring import (
    Gap,
    Host,
    ManualHost,
    fit,
    gap_callback,
    make_callback,
    make_data,
    make_loader,
    own_weights,
    same,
    weights,
)

BUILD = {
    "default": make_callback,
    "learned output": lambda: make_callback("vector -> learned"),
    "moving": lambda: make_callback(probability=0.5),
    "warm-up": lambda: make_callback(balance=Ramp(1.0, start=6, length=2)),
    "sparse": lambda: make_callback(every_n_steps=3),
    "learned widths": lambda: make_callback(Symmetry(Normal(SO()), "vector", "vector"), losses=[Gap()], balance=0.5),
    "every second": lambda: make_callback(probability=0.5, every_n_steps=2),
}


def states(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return tree.tolist()
    if isinstance(tree, dict):
        return {k: states(v) for k, v in tree.items()}
    return [states(v) for v in tree] if isinstance(tree, (list, tuple)) else tree


def assert_same_run(left: tuple[Host, LearnableAugmentation], right: tuple[Host, LearnableAugmentation]) -> None:
    assert same(weights(left[0]), weights(right[0]))
    assert same(own_weights(left[1]), own_weights(right[1]))
    a, b = left[1].state_dict(), right[1].state_dict()
    assert repr(states(a)) == repr(states(b))  # NaN equals NaN in words


@pytest.mark.parametrize("kind", [Host, ManualHost])
@pytest.mark.parametrize("build", BUILD)
def test_between_epochs(build: str, kind: type[Host]) -> None:
    whole, callback = kind(), BUILD[build]()
    fit(whole, callback, max_epochs=2, log_every_n_steps=1)
    fit(kind(), BUILD[build](), log_every_n_steps=1).save_checkpoint("half.ckpt")
    resumed, other = kind(), BUILD[build]()
    fit(resumed, other, max_epochs=2, ckpt="half.ckpt", log_every_n_steps=1)
    assert callback.step == 8 and callback.journal.curves["step"] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert_same_run((whole, callback), (resumed, other))


class StatefulLoader:
    """Goes on where it was, which a plain loader does not."""

    def __init__(self) -> None:
        self.batches, self.position = make_data(), 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        # whoever knows the length takes no step behind the end
        self.position %= len(self.batches)
        while self.position < len(self.batches):
            self.position += 1
            yield self.batches[self.position - 1]

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = state["position"]


@pytest.mark.parametrize("build", BUILD)
def test_in_the_middle_of_an_epoch(build: str) -> None:
    whole, callback = Host(), BUILD[build]()
    saving = ModelCheckpoint(dirpath="saved", every_n_train_steps=2, save_top_k=-1, filename="{step}")
    fit(whole, callback, saving, data=StatefulLoader(), enable_checkpointing=True, log_every_n_steps=1)
    resumed, other = Host(), BUILD[build]()
    fit(resumed, other, data=StatefulLoader(), ckpt="saved/step=2.ckpt", log_every_n_steps=1)
    assert callback.step == other.step == 4 and len(resumed.losses) == 2
    assert_same_run((whole, callback), (resumed, other))


def plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(type(k) in (str, int) and plain(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return all(plain(v) for v in value)
    return type(value) in (Tensor, str, int, float, bool, type(None))


@pytest.mark.parametrize("build", BUILD)
def test_the_state_is_tensors_and_plain_values(build: str) -> None:
    callback = BUILD[build]()
    for moment in ("before", "after"):
        state = {k: dict(v) if hasattr(v, "items") else v for k, v in callback.state_dict().items()}
        assert plain(state), moment
        fit(Host(), callback).save_checkpoint("model.ckpt")
    torch.load("model.ckpt", weights_only=True)


def test_before_any_data_was_seen() -> None:
    """A state that was saved before the first batch restores into a callback that has not seen one either."""
    early = make_callback("vector -> learned")
    state = early.state_dict()
    assert state["symmetries"] == [{}] and state["optimizer"] is None
    late = make_callback("vector -> learned")
    late.load_state_dict(state)
    left, right = Host(), Host()
    fit(left, late)
    other = make_callback("vector -> learned")
    fit(right, other)
    assert_same_run((left, late), (right, other))


def test_restoring_does_not_lose_what_waits_for_data() -> None:
    """Loaded and saved again without a batch in between."""
    trained = make_callback("vector -> learned")
    fit(Host(), trained)
    waiting = make_callback("vector -> learned")
    waiting.load_state_dict(trained.state_dict())
    assert repr(states(waiting.state_dict())) == repr(states(trained.state_dict()))


def test_during_warm_up() -> None:
    whole, callback = Host(), BUILD["warm-up"]()
    fit(whole, callback, max_epochs=2)
    fit(Host(), BUILD["warm-up"](), limit_train_batches=4).save_checkpoint("warm.ckpt")
    resumed, other = Host(), BUILD["warm-up"]()
    fit(resumed, other, max_epochs=2, ckpt="warm.ckpt")
    assert same(weights(whole), weights(resumed)) and same(own_weights(callback), own_weights(other))


def test_checkpoints_of_runs_without_us_are_accepted() -> None:
    fit(Host()).save_checkpoint("old.ckpt")
    host, callback = Host(), make_callback()
    fit(host, callback, ckpt="old.ckpt", max_epochs=2)
    assert callback.step == 4 and callback.symmetries[0].is_complete


def test_states_of_others_are_left_alone() -> None:
    """Two callbacks, one checkpoint; the names keep them apart."""
    pair = [make_callback(name="a"), make_callback("SO(2) on vector -> vector", name="b", probability=0.5)]
    fit(Host(), *pair).save_checkpoint("pair.ckpt")
    first, second = make_callback(name="a"), make_callback(name="b")
    whole, resumed = Host(), Host()
    fit(
        whole,
        make_callback(name="a"),
        make_callback("SO(2) on vector -> vector", name="b", probability=0.5),
        max_epochs=2,
    )
    fit(
        resumed,
        make_callback("SO(2) on vector -> vector", name="b", probability=0.5),
        first,
        ckpt="pair.ckpt",
        max_epochs=2,
    )
    assert first.step == 8 and second.step == 0
    assert not same(own_weights(first), own_weights(pair[0]))


def test_a_test_run_restores_nothing_and_trains_nothing() -> None:
    class Tested(Host):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            x, y = batch
            self.log("test/loss", (self.net(x) - y).square().mean())

    host, callback = Tested(), gap_callback()
    trainer = fit(host, callback)
    trainer.save_checkpoint("model.ckpt")
    before, own = weights(host), own_weights(callback)
    for run in (trainer.test, trainer.validate):
        run(host, make_loader(), verbose=False, ckpt_path="model.ckpt")
    trainer.predict(host, torch.utils.data.DataLoader(torch.zeros(4, 2)))
    assert same(before, weights(host)) and same(own, own_weights(callback))
    assert callback.step == 4 and Path("model.ckpt").exists()
