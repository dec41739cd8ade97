"""Off means off: with strength 0 and probability 0 a run is bit for bit that without the callback."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lightning_symmetry.balancing import Fixed, Ramp
from lightning_symmetry.callbacks import LearnableAugmentation
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry
from tests.seam.boring import (
    SENTENCE,
    Gap,
    Host,
    ManualHost,
    Pull,
    fit,
    gap_callback,
    make_callback,
    make_loader,
    make_net,
    make_noisy_net,
    same,
    weights,
)

OFF = {
    "fixed": lambda: make_callback(balance=Fixed(0.0)),
    "number": lambda: make_callback(balance=0.0),
    "list": lambda: make_callback(losses=[Gap(), Pull()], balance=[0.0, 0.0]),
    "before the ramp": lambda: make_callback(balance=Ramp(1.0, start=1000)),
    "probability 0": lambda: make_callback(losses=[], probability=0.0),
    "learned output": lambda: make_callback("vector -> learned", balance=0.0),
}


def outcome(host: Host, *callbacks: Any, **settings: Any) -> tuple[dict[str, torch.Tensor], list[float], torch.Tensor]:
    torch.manual_seed(7)
    fit(host, *callbacks, val=make_loader(2, seed=5), **settings)
    return weights(host), host.losses, torch.get_rng_state()


def assert_equal_outcomes(plain: Any, ours: Any) -> None:
    assert same(plain[0], ours[0])
    assert plain[1] == ours[1]
    assert torch.equal(plain[2], ours[2])


@pytest.mark.parametrize("kind", [Host, ManualHost])
@pytest.mark.parametrize("off", OFF)
def test_plain_nets(off: str, kind: type[Host]) -> None:
    assert_equal_outcomes(outcome(kind()), outcome(kind(), OFF[off]()))


@pytest.mark.slow
@pytest.mark.parametrize("off", OFF)
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Host, {}),
        (ManualHost, {}),
        (Host, {"accumulate_grad_batches": 3}),
        (Host, {"precision": "bf16-mixed"}),
        (ManualHost, {"precision": "bf16-mixed"}),
    ],
)
def test_noisy_nets(off: str, kind: type[Host], settings: dict[str, Any]) -> None:
    runs = [outcome(kind(make_noisy_net()), *made, max_epochs=2, **settings) for made in ([], [OFF[off]()])]
    assert_equal_outcomes(*runs)


def test_nothing_is_drawn_and_nothing_is_forwarded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("drawn")

    host, calls = Host(), []
    host.net.register_forward_hook(lambda *_: calls.append(1))
    monkeypatch.setattr(Rng, "_draw", refuse)
    monkeypatch.setattr(LearnableAugmentation, "conclude", lambda *_: None)  # looks at the network after training
    fit(host, make_callback(balance=0.0), limit_train_batches=3)
    assert len(calls) == len(host.losses) == 3


def test_batches_that_every_n_steps_leaves_out() -> None:
    """One batch with a penalty, then none: from the same weights on, the run is a plain one."""
    host = Host(make_noisy_net())
    callback = gap_callback(every_n_steps=100)
    torch.manual_seed(3)
    fit(host, callback, limit_train_batches=1)
    start, random_state = weights(host), torch.get_rng_state()

    runs = []
    for callbacks in ([], [callback]):
        twin = Host(make_noisy_net())
        twin.load_state_dict(start)
        torch.set_rng_state(random_state)
        fit(twin, *callbacks, data=make_loader(3, seed=4))
        runs.append((weights(twin), twin.losses, torch.get_rng_state()))
    assert callback.step == 4
    assert_equal_outcomes(*runs)


def test_sparse_penalties_are_as_much_stronger() -> None:
    """With n = 2 the first batch alone has a penalty, twice as strong: that of strength 2."""
    runs = []
    for callback in (gap_callback(1.0, every_n_steps=2), gap_callback(2.0)):
        host = Host(make_net())
        fit(host, callback, limit_train_batches=1)
        runs.append(weights(host))
    assert same(*runs)


def test_learned_parts_do_not_move_while_off() -> None:
    callback = make_callback(balance=Ramp(1.0, start=1000))
    fit(Host(), callback)
    untouched = Symmetry.parse(SENTENCE).bind(torch.zeros(2, 2))
    assert callback.step == 4
    assert torch.equal(callback.symmetries[0].group.weight, untouched.group.weight)
