"""Second fits, other modules, and several callbacks at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import callbacks as averaging

from lightning_symmetry.exceptions import InvalidSetting, SymmetryError
from lightning_symmetry.symmetry import Symmetry
from tests.seam.boring import (
    ByHand,
    Gap,
    Host,
    ManualHost,
    Pull,
    close,
    fit,
    gap_callback,
    make_callback,
    make_data,
    make_loader,
    make_net,
    make_trainer,
    own_weights,
    same,
    weights,
)
from tests.seam.by_hand import own_steps


@pytest.mark.parametrize("kind", [Host, ManualHost])
def test_a_second_fit_goes_on(kind: type[Host]) -> None:
    host, callback = kind(), gap_callback()
    trainer = make_trainer(callback)
    trainer.fit(host, make_loader())
    trainer.fit_loop.max_epochs = 2
    calls: list[int] = []
    host.net.register_forward_hook(lambda *_: calls.append(1))
    trainer.fit(host, make_loader())
    assert callback.step == own_steps(callback) == 8
    assert len(host.losses) == 8 and len(callback.discoveries) == 1
    assert "training_step" not in vars(host)


def test_a_new_trainer_with_the_same_callback() -> None:
    left, right = Host(), Host()
    one, two = gap_callback(), gap_callback()
    fit(left, one, max_epochs=1)
    fit(right, two, max_epochs=1)
    fit(right, two, max_epochs=1)
    assert one.step == 4 and two.step == 8
    assert not same(own_weights(one), own_weights(two))


def test_the_same_callback_with_another_module() -> None:
    """What was learnt is taken along; the first module is not held on to."""
    first, second, callback = Host(make_net(1)), Host(make_net(2)), gap_callback()
    fit(first, callback)
    before = weights(first)
    learnt = own_weights(callback)
    fit(second, callback, val=make_loader(2, seed=3))
    assert same(weights(first), before) and not same(own_weights(callback), learnt)
    assert callback.step == 8 and callback._tap.found == "net"
    assert callback.discoveries[0].held_out == "validation"
    fit(first, callback)
    assert callback.discoveries[0].held_out == "training"
    for host in (first, second):
        assert "training_step" not in vars(host) and "forward" not in vars(host.net)


class Plain(Host):
    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.net.parameters(), lr=1.0)


@pytest.mark.parametrize("manual", [False, True])
def test_two_penalties_add_up(manual: bool) -> None:
    sentences = ["SO(2) on vector -> vector", "scale on vector -> vector"]
    kind = type("Either", (ManualHost,), {"configure_optimizers": Plain.configure_optimizers}) if manual else Plain
    host = kind()
    fit(host, *[gap_callback(sentence=s) for s in sentences], limit_train_batches=1)
    net = make_net()
    x, target = make_data()[0]
    y = net(x)
    penalties = [ByHand(net, sentence=s).penalty(x, y) for s in sentences]
    (torch.nn.functional.mse_loss(y, target) + sum(penalties)).backward()
    torch.optim.SGD(net.parameters(), lr=1.0).step()
    assert close(weights(net), weights(host.net))


@pytest.mark.parametrize("kind", [Host, ManualHost])
@pytest.mark.parametrize("order", [1, -1])
def test_augmenting_and_penalising_at_once(order: int, kind: type[Host]) -> None:
    mover = make_callback("SO(2) on vector -> vector", losses=[], probability=0.5, name="mover")
    presser = gap_callback(name="presser")
    host = kind()
    trainer = fit(host, *[mover, presser][::order], val=make_loader(2, seed=4))
    assert mover.step == presser.step == own_steps(presser) == 4
    assert "training_step" not in vars(host)
    assert all("forward" not in vars(child) for child in host.modules())
    assert len(presser.discoveries) == 1
    trainer.save_checkpoint("both.ckpt")
    keys = torch.load("both.ckpt", weights_only=True)["callbacks"]
    assert {"LearnableAugmentation[mover]", "LearnableAugmentation[presser]"} <= set(keys)


def test_a_penalty_sees_what_the_augmentation_made() -> None:
    """Listed last is outermost: its elements move the input that the other one's network is given."""
    seen: dict[str, Any] = {}

    class Noting(Gap):
        def forward(self, call: Any) -> Any:
            seen["x"] = call.x["input"].clone()
            return super().forward(call)

    mover = make_callback("SO(2) on vector -> vector", losses=[], probability=1.0, name="mover")
    presser = make_callback(losses=[Noting()], name="presser")
    x = next(iter(make_loader()))[0]
    fit(Host(), presser, mover, limit_train_batches=1)
    assert not torch.allclose(seen["x"], x) and torch.allclose(seen["x"].norm(dim=1), x.norm(dim=1), atol=1e-5)
    fit(Host(), make_callback(losses=[Noting()], name="presser"), limit_train_batches=1)
    assert torch.equal(seen["x"], x)


def test_an_idle_companion_changes_nothing() -> None:
    left, right = Host(), Host()
    fit(left, gap_callback())
    fit(right, gap_callback(), make_callback("SO(2) on vector -> vector", balance=0.0))
    assert same(weights(left), weights(right))


def test_names_keep_callbacks_apart() -> None:
    same_sentence = [make_callback(), make_callback()]
    with pytest.raises(InvalidSetting, match="name="):
        fit(Host(), *same_sentence)
    make_trainer(make_callback("SO(2) on vector -> vector"), make_callback("scale on vector -> vector"))
    named = [make_callback(name="a"), make_callback(name="b")]
    trainer = fit(Host(), *named)
    metrics = {name.split("/")[1] for name in trainer.callback_metrics if name.startswith("symmetry/")}
    assert metrics == {"a", "b"}
    assert named[0].report_folder != named[1].report_folder


def test_a_symmetry_that_two_share_is_stepped_and_saved_once() -> None:
    shared = Symmetry.parse("vector -> vector", name="shared")
    pair = [make_callback(shared, losses=[Pull()], name="a"), make_callback(shared, losses=[Pull()], name="b")]
    fit(Host(), *pair)
    alone = make_callback(Symmetry.parse("vector -> vector", name="shared"), losses=[Pull()], balance=2.0)
    fit(Host(), alone)
    assert close(own_weights(pair[0]), own_weights(alone))
    assert own_steps(pair[0]) == 4 and pair[1]._clock.optimizer is None
    assert pair[1].state_dict()["symmetries"] == [{}]
    resumed = [
        make_callback(Symmetry.parse("vector -> vector", name="shared"), losses=[Pull()], name=name) for name in "ab"
    ]
    resumed[1].symmetries = resumed[0].symmetries
    fit(Host(), *pair).save_checkpoint("pair.ckpt")
    fit(Host(), *resumed, ckpt="pair.ckpt", max_epochs=2)
    assert resumed[0].step == resumed[1].step == 12
    assert not same(own_weights(resumed[0]), own_weights(pair[0]))


@pytest.mark.parametrize("order", [1, -1])
def test_teardown_in_any_order_leaves_nothing(order: int) -> None:
    host, callbacks = Host(), [gap_callback(name="a"), gap_callback(name="b"), gap_callback(name="c")]
    trainer = make_trainer(*callbacks)
    for callback in callbacks:
        callback.setup(trainer, host, "fit")
    assert "training_step" in vars(host)
    for callback in callbacks[::order]:
        callback.teardown(trainer, host, "fit")
    assert "training_step" not in vars(host)


def test_a_callback_does_not_fit_data_of_another_dimension() -> None:
    callback = make_callback("SO(3) on vector -> vector")
    with pytest.raises(SymmetryError):
        fit(Host(), callback)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    "build",
    [lambda: averaging.EMAWeightAveraging(), lambda: averaging.StochasticWeightAveraging(0.1, 1)],
    ids=["ema", "swa"],
)
def test_weight_averaging(build: Any, order: int) -> None:
    """Averages copy the module in setup, with our wrapper on it or not."""
    plain, ours = Host(), Host()
    settings: dict[str, Any] = {"val": make_loader(2, seed=4), "max_epochs": 3}
    fit(plain, build(), **settings)
    callback = gap_callback()
    trainer = fit(ours, *[build(), callback][::order], **settings)
    trainer.save_checkpoint("model.ckpt")
    assert list(weights(plain)) == list(torch.load("model.ckpt", weights_only=True)["state_dict"])
    assert callback.step == len(ours.losses) == len(plain.losses) >= 12
    assert "training_step" not in vars(ours) and "forward" not in vars(ours.net)

    idle = Host()
    fit(idle, *[build(), gap_callback(0.0)][::order], **settings)
    assert same(weights(plain), weights(idle))
