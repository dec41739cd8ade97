"""A balancer is told the task's own loss of every batch, once, and widths are learnt in the task's one forward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_symmetry.balancing import Constraint, Ramp
from lightning_symmetry.callbacks import LearnableAugmentation
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SO
from lightning_symmetry.losses import NormReward, WidthReward
from lightning_symmetry.samplers import Uniform
from lightning_symmetry.symmetry import Symmetry
from tests.seam.boring import (
    Host,
    ManualHost,
    close,
    fit,
    make_data,
    make_loader,
    make_net,
    own_weights,
    same,
    weights,
)


class Listening(Constraint):
    """A constraint that remembers what it was told."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.told: list[tuple[float, bool]] = []

    def observe(self, loss: float, moved: bool) -> None:
        self.told.append((loss, moved))
        super().observe(loss, moved)


class Steering(Ramp):
    """A constant that asks for the task's loss, as a strength that is searched for does."""

    observes = True


def make_law() -> Symmetry:
    return Symmetry(Uniform(SO(), 0.5, learnable=True), "vector", "vector", name="law")


def make(balance: Any = None, form: str = "log", **settings: Any) -> LearnableAugmentation:
    return LearnableAugmentation(
        make_law(), losses=[WidthReward(form)], balance=balance or Listening(), probability=1.0, lr=0.1, **settings
    )


class DictHost(Host):
    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        return {"loss": super().training_step(batch, batch_idx), "more": torch.ones(())}


class ReturningManualHost(ManualHost):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        super().training_step(batch, batch_idx)
        return torch.tensor(self.losses[-1])


class ClosureHost(Host):
    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Host, {}),
        (DictHost, {}),
        (ReturningManualHost, {}),
        (Host, {"accumulate_grad_batches": 3}),
        (Host, {"precision": "bf16-mixed"}),
        (Host, {"gradient_clip_val": 0.1}),
    ],
)
def test_it_is_told_what_the_step_returned(kind: type[Host], settings: dict[str, Any]) -> None:
    host, callback = kind(), make()
    fit(host, callback, data=make_loader(6), **settings)
    assert [loss for loss, _ in callback.balance.told] == pytest.approx(host.losses, rel=1e-6)
    assert [moved for _, moved in callback.balance.told] == [False, True, True, True, False, True]


def test_a_closure_is_one_batch() -> None:
    host, callback = ClosureHost(), make()
    fit(host, callback, data=make_loader(5))
    assert len(host.losses) > 5 and len(callback.balance.told) == 5
    assert callback.balance.told[0][0] == pytest.approx(host.losses[0])


def test_what_was_never_returned_is_refused_at_once() -> None:
    host = ManualHost()
    with pytest.raises(InvalidSetting, match="manual optimization.*Return the loss"):
        fit(host, make())
    assert len(host.losses) == 1
    fit(ManualHost(), make(balance=0.05))


def test_skipped_batches_and_broken_losses_are_not_told() -> None:
    class Skipping(Host):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            # the last, so that its gradient spoils no other batch
            return None if batch_idx == 1 else loss * float("nan") if batch_idx == 3 else loss

    callback = make()
    fit(Skipping(), callback, data=make_loader(4))
    assert len(callback.balance.told) == 2 and callback.balance.scale.isfinite()


@pytest.mark.parametrize("form", ["norm", "log"])
def test_one_forward_a_batch(form: str) -> None:
    host, calls = Host(), []
    host.net.register_forward_hook(lambda *_: calls.append(1))
    LearnableAugmentation.conclude, kept = lambda *_: None, LearnableAugmentation.conclude
    try:
        fit(host, make(form=form))
    finally:
        LearnableAugmentation.conclude = kept
    assert len(calls) == len(host.losses) == 4


def test_losses_on_the_group_alone_cost_no_forward_either() -> None:
    host, calls = Host(), []
    host.net.register_forward_hook(lambda *_: calls.append(1))
    callback = LearnableAugmentation(
        "vector -> vector", losses=[NormReward()], balance=0.1, probability=1.0, module="net"
    )
    callback.conclude = lambda *_: None  # type: ignore[method-assign]
    fit(host, callback)
    assert len(calls) == len(host.losses) == 4


@pytest.mark.parametrize("settles", [False, True])
def test_widths_learn_as_in_a_plain_loop(settles: bool) -> None:
    """loss(conjugate(f, g)(x), y) - 0.05 || s ||, by hand; where the strength is searched for, the rate falls."""
    host, callback = Host(make_net()), make(balance=Steering(0.05) if settles else 0.05, form="norm")
    fit(host, callback, data=make_loader(8))
    net, law = make_net(), make_law()
    law.bind(torch.zeros(2, 2), torch.zeros(2, 2)).sampler.bind()
    theirs = torch.optim.Adam(net.parameters(), lr=0.01)
    own = torch.optim.Adam(list(law.parameters()), lr=0.1, betas=(0.9, 0.99 if settles else 0.999))
    for step, (x, y) in enumerate(make_data(8)):
        own.param_groups[0]["lr"] = 0.1 / (1 + settles * step / 50) ** 0.5
        g, _ = law.sample(x, 1, Rng(0, step))
        answer = law.move_output(~g, net(law.move_input(g, x)))
        loss = F.mse_loss(answer, y) - 0.05 * 2 * law.sampler.widths.norm()
        theirs.zero_grad()
        own.zero_grad()
        loss.backward()
        theirs.step()
        own.step()
    assert close(weights(host), {f"net.{k}": v for k, v in weights(net).items()})
    assert close(own_weights(callback), {f"0.{k}": v for k, v in law.state_dict().items()})


def test_batches_for_comparison_are_the_data_themselves() -> None:
    """The identity takes the way of every draw, so that resampled images are told from moved ones by nothing else."""
    seen: list[Tensor] = []

    class Seeing(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach().clone())
            return super().forward(x)

    callback = make(Constraint(every=2))
    fit(Host(Seeing(2, 2)), callback, data=make_loader(4))
    for step, ((x, _), given) in enumerate(zip(make_data(4), seen, strict=False)):
        assert torch.allclose(given, x, atol=1e-6) == (step % 2 == 0), step


def test_a_rotation_ends_at_half_a_turn() -> None:
    """The task does not mind; nothing is drawn beyond a full turn."""

    class Indifferent(Host):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return 0 * super().training_step(batch, batch_idx) + 1.0

    callback = make()
    fit(Indifferent(), callback, max_epochs=40)
    (law,) = callback.laws
    assert law.generators[0].width == pytest.approx(torch.pi, abs=1e-4)
    assert law.generators[0].words == "every angle"


def test_a_resumed_run_goes_on_exactly() -> None:
    whole, callback = Host(), make(Constraint())
    fit(whole, callback, max_epochs=4)
    fit(Host(), make(Constraint()), max_epochs=2).save_checkpoint("half.ckpt")
    resumed, other = Host(), make(Constraint())
    fit(resumed, other, max_epochs=4, ckpt="half.ckpt")
    assert same(weights(whole), weights(resumed)) and same(own_weights(callback), own_weights(other))
    assert same(dict(callback.balance.state_dict()), dict(other.balance.state_dict()))


def test_widths_are_logged_and_told_by_their_names() -> None:
    callback = make()
    trainer = fit(Host(), callback, log_every_n_steps=1)
    assert len(callback.journal.curves["law/width_rotation"]) == 4
    final = float(callback.symmetries[0].sampler.widths.detach())
    assert float(trainer.callback_metrics["symmetry/law/width_rotation"]) == pytest.approx(final)
    assert callback.laws[0].metrics() == {"width_rotation": pytest.approx(final)} and not callback.discoveries
