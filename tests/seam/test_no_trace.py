"""A module that was trained with a callback differs in nothing but its weights from one that was not."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from tests.seam.boring import (
    Gap,
    Host,
    ManualHost,
    fit,
    gap_callback,
    make_callback,
    make_loader,
    make_noisy_net,
    same,
    weights,
)


def traces(module: nn.Module) -> dict[str, set[str]]:
    return {name: set(vars(child)) for name, child in module.named_modules()}


def instance_forwards(module: nn.Module) -> list[str]:
    return [name for name, child in module.named_modules() if "forward" in vars(child)]


def parametrize_callbacks() -> Any:
    return pytest.mark.parametrize(
        "build",
        [
            make_callback,
            gap_callback,
            lambda: make_callback(probability=0.5),
            lambda: make_callback(losses=[], probability=1.0),
            lambda: make_callback(module="net"),
            lambda: make_callback(every_n_steps=2),
        ],
        ids=["default", "gap", "moving", "moving only", "named", "sparse"],
    )


@parametrize_callbacks()
@pytest.mark.parametrize("kind", [Host, ManualHost])
def test_instances_are_as_after_a_plain_run(kind: type[Host], build: Any) -> None:
    plain, ours = kind(), kind()
    fit(plain, val=make_loader(2, seed=5))
    fit(ours, build(), val=make_loader(2, seed=5))
    assert traces(ours) == traces(plain)
    assert "training_step" not in vars(ours) and not instance_forwards(ours)
    for name, child in ours.named_modules():
        assert child._forward_hooks == child._forward_pre_hooks == child._backward_hooks == {}, name


def test_optimizers_and_state_are_those_of_a_plain_run() -> None:
    plain, ours = Host(make_noisy_net()), Host(make_noisy_net())
    left, right = fit(plain), fit(ours, make_callback())
    assert list(weights(plain)) == list(weights(ours))
    assert [n for n, _ in plain.named_parameters()] == [n for n, _ in ours.named_parameters()]
    assert len(left.optimizers) == len(right.optimizers) == 1
    for a, b in zip(left.optimizers[0].param_groups, right.optimizers[0].param_groups, strict=True):
        assert a.keys() == b.keys() and [p.shape for p in a["params"]] == [p.shape for p in b["params"]]
    assert not right.optimizers[0]._optimizer_step_post_hooks
    assert not any(p._backward_hooks for p in ours.parameters())
    assert left.global_step == right.global_step


def outline(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {k: outline(v) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [outline(v) for v in tree]
    return tuple(tree.shape) if isinstance(tree, Tensor) else type(tree)


def test_checkpoints_have_the_same_layout_and_load_without_the_plugin() -> None:
    layouts = []
    for callbacks in ([], [make_callback()]):
        trainer = fit(Host(), *callbacks)
        trainer.save_checkpoint("model.ckpt")
        checkpoint = torch.load("model.ckpt", weights_only=True)
        checkpoint.pop("callbacks", None)
        layouts.append(outline(checkpoint))
    assert layouts[0] == layouts[1]
    assert Host.load_from_checkpoint("model.ckpt", strict=True)
    resumed = fit(Host(), ckpt="model.ckpt", max_epochs=2)
    assert resumed.global_step == 8


def test_weights_only_checkpoints_carry_nothing_of_ours() -> None:
    fit(Host(), make_callback()).save_checkpoint("model.ckpt", weights_only=True)
    assert "callbacks" not in torch.load("model.ckpt", weights_only=True)


@pytest.mark.parametrize("settings", [{}, {"losses": [Gap()]}, {"every_n_steps": 2}, {"module": "net"}], ids=str)
def test_strength_zero_checkpoint_equals_the_plain_one_in_values(settings: dict[str, Any]) -> None:
    found = []
    for callbacks in ([], [make_callback(balance=0.0, **settings)]):
        fit(Host(), *callbacks).save_checkpoint("model.ckpt")
        checkpoint = torch.load("model.ckpt", weights_only=True)
        checkpoint.pop("callbacks", None)
        found.append(repr(checkpoint))
    assert found[0] == found[1]


class Stumbling(Host):
    def __init__(self, error: type[BaseException], where: str) -> None:
        super().__init__()
        self.error, self.where, self.calls = error, where, 0
        self.net.append(Tripwire(self))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        if self.where == "step" and batch_idx == 1:
            raise self.error("stumbled")
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if self.where == "validation" and not self.trainer.sanity_checking:
            raise self.error("stumbled")
        super().validation_step(batch, batch_idx)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        if self.where == "optimizer":
            raise self.error("stumbled")


class Tripwire(nn.Module):
    def __init__(self, host: Stumbling) -> None:
        super().__init__()
        self.host = [host]

    def forward(self, x: Tensor) -> Tensor:
        (host,) = self.host
        host.calls += 1
        if host.where == "forward" and host.calls == 3:
            raise host.error("stumbled")
        return x


@pytest.mark.parametrize("where", ["step", "forward", "optimizer", "validation"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error(error: type[BaseException], where: str) -> None:
    host, callback = Stumbling(error, where), make_callback()
    before = traces(host)
    with pytest.raises((SystemExit, error)):
        fit(host, callback, val=make_loader(2))
    # Lightning itself leaves attributes such as _device; only what we patch is compared
    assert all(before[name] == now for name, now in traces(host).items() if name)
    assert "training_step" not in vars(host) and not instance_forwards(host)
    if where != "forward":
        assert callback.symmetries[0].is_bound  # what was learnt is kept
    host.where = "nowhere"
    fit(host, callback, val=make_loader(2))
    assert "training_step" not in vars(host) and not instance_forwards(host)


def test_instance_attributes_that_were_there_before_come_back() -> None:
    host = Host()
    step, forward = host.training_step, host.net.forward
    host.__dict__["training_step"] = step
    host.net.__dict__["forward"] = forward
    fit(host, make_callback())
    assert vars(host)["training_step"] is step and vars(host.net)["forward"] is forward


def test_module_pickles_and_copies_after_fit() -> None:
    host = Host()
    trainer = fit(host, make_callback())
    twin = copy.deepcopy(host)
    assert same(weights(twin), weights(host))
    host.trainer = None
    assert same(weights(pickle.loads(pickle.dumps(host))), weights(host))
    assert trainer.state.finished


def test_teardown_is_idempotent() -> None:
    host, callback = Host(), make_callback()
    trainer = fit(host, callback)
    before = weights(host)
    for _ in range(2):
        callback.teardown(trainer, host, "fit")
        callback.on_exception(trainer, host, ValueError())
    assert same(before, weights(host)) and "training_step" not in vars(host)


def test_wrappers_of_others_survive_in_any_order() -> None:
    class Wrapper(Callback):
        calls = 0

        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            inner = pl_module.training_step

            def training_step(*args: Any, **kwargs: Any) -> Any:
                self.calls += 1
                return inner(*args, **kwargs)

            training_step.__wrapped__ = inner  # type: ignore[attr-defined]
            pl_module.training_step = training_step

        def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
            vars(pl_module).pop("training_step", None)

    for order in (1, -1):
        host, wrapper, callback = Host(), Wrapper(), make_callback()
        fit(host, *[wrapper, callback][::order])
        assert wrapper.calls == callback.step == len(host.losses) == 4
        host.training_step(next(iter(make_loader())), 0)
        assert len(host.losses) == 5 and callback._calls == 4


class Remembering(nn.Module):
    """Keeps what it saw last, as attention maps and auxiliary losses are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.inner(x)
        return self.last * 1.0


def test_what_a_forward_leaves_on_the_module_is_the_hosts_own() -> None:
    class Auxiliary(Host):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            x, y = batch
            loss = (self.net(x) - y).square().mean()
            with torch.no_grad():
                assert torch.equal(self.net.last, self.net.inner(x))
            return loss + self.net.last.square().mean()

    host = Auxiliary(Remembering())
    fit(host, make_callback())
    assert host.net.last.shape == (8, 2)


def test_hooks_of_the_host_on_the_network_see_one_call_and_act_once() -> None:
    host, seen = Host(nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))), []
    host.net.register_forward_pre_hook(lambda module, args: seen.append(args[0]) or (2 * args[0],))
    host.net.register_forward_hook(lambda module, args, y: 3 * y)
    inputs: list[Tensor] = []
    host.net[0].register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    fit(host, gap_callback(), limit_train_batches=1)
    assert len(seen) == 1
    assert torch.equal(inputs[0], 2 * seen[0])
    # the second pass sees the moved input, whose scale the pre-hook has already set
    assert 0.3 < float(inputs[1].norm() / inputs[0].norm()) < 3
