"""The watch finds the network in evaluation steps, keeps its inputs, and leaves everything as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor, nn

from lightning_symmetry.callbacks.host import Callback
from lightning_symmetry.callbacks.site import Site
from lightning_symmetry.callbacks.watch import NetworkWatch, evaluating
from lightning_symmetry.exceptions import TargetError
from tests.seam.boring import Host, fit, make_loader, make_net, make_noisy_net, make_trainer, same, weights


class Spy(Callback):
    """Watches every batch of validation and test."""

    def __init__(self, module: str | None = None) -> None:
        self.watch = NetworkWatch(module)
        self.kept: list[list[dict[str, Any]]] = []

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *place: int) -> None:
        self.watch.start(trainer, pl_module, batch)

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *place: int) -> None:
        self.watch.stop()
        self.kept.append(self.watch.calls)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.watch.stop()

    on_test_batch_start = on_validation_batch_start
    on_test_batch_end = on_validation_batch_end


class Stepping(Host):
    """A host whose evaluation step is given."""

    def __init__(self, step: Callable[[Any, Tensor], Any], net: nn.Module | None = None) -> None:
        super().__init__(net)
        self.step = step
        self.other = nn.Linear(2, 2)
        self.metric = nn.MSELoss()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.step(self, batch[0])

    test_step = validation_step


def validate(host: L.LightningModule, *callbacks: Any, **settings: Any) -> None:
    make_trainer(*callbacks, **settings).validate(host, make_loader(2), verbose=False)


STYLES: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "the net": (lambda host, x: host.net(x), "net"),
    "the module itself": (lambda host, x: host(x), "."),
    "something derived": (lambda host, x: host.net((x / 2).double().float() + 0), "net"),
    "by name": (lambda host, x: host.net(input=x), "net"),
    "twice the same": (lambda host, x: (host.net(x), host.net(x)), "net"),
    "a loss too": (lambda host, x: host.metric(host.net(x), x), "net"),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("inference_mode", [True, False])
@pytest.mark.parametrize("stage", ["validate", "test"])
def test_the_network_is_found(style: str, inference_mode: bool, stage: str) -> None:
    step, name = STYLES[style]
    spy, host = Spy(), Stepping(step)
    getattr(make_trainer(spy, inference_mode=inference_mode), stage)(host, make_loader(2), verbose=False)
    assert spy.watch.site is not None and spy.watch.site.name == name
    scale = 0.5 if style == "something derived" else 1.0
    for calls, (x, _) in zip(spy.kept, make_loader(2), strict=True):
        (call,) = calls
        (kept,) = call.values()
        torch.testing.assert_close(kept, scale * x)
        assert not kept.is_inference()


def test_it_is_found_in_the_validation_of_a_fit_too() -> None:
    spy = Spy()
    fit(Host(), spy, val=make_loader(2))
    assert spy.watch.site is not None and spy.watch.site.name == "net" and len(spy.kept) == 4


def test_two_networks_are_refused_until_one_is_named() -> None:
    host = Stepping(lambda host, x: host.net(host.other(x)))
    with pytest.raises(TargetError, match="two calls of networks in one evaluation step: 'other', then 'net'"):
        validate(host, Spy())
    assert all("forward" not in vars(module) for module in host.modules())
    spy = Spy("net")
    validate(host, spy)
    torch.testing.assert_close(spy.kept[0][0]["input"], host.other(next(iter(make_loader(2)))[0]).detach())


def test_an_unknown_name_is_refused_with_what_exists() -> None:
    with pytest.raises(TargetError, match=r"such as net"):
        validate(Host(), Spy("nett"))


@pytest.mark.parametrize("module", [None, "other"])
def test_no_call_at_all_is_told_when_asked(module: str | None) -> None:
    spy = Spy(module)
    validate(Stepping(lambda host, x: x.sum()), spy)
    assert spy.watch.site is None or module
    with pytest.raises(TargetError, match="evaluation"):
        spy.watch.demand_found()


def test_nothing_stays_behind() -> None:
    host = Stepping(lambda host, x: host.net(x), make_noisy_net())
    before, held = weights(host), {name: set(vars(module)) for name, module in host.named_modules()}
    torch.manual_seed(3)
    validate(host)
    plain = {name: set(vars(module)) for name, module in host.named_modules()}
    state = torch.get_rng_state()
    torch.manual_seed(3)
    validate(host, Spy())
    assert {name: set(vars(module)) for name, module in host.named_modules()} == plain
    assert all("forward" not in names for names in held.values())
    assert same(before, weights(host)) and torch.equal(state, torch.get_rng_state())


def test_two_watches_share_one_batch() -> None:
    first, second = Spy(), Spy("net.0")
    host = Host()
    validate(host, first, second)
    assert first.watch.site is not None and second.watch.site is not None
    assert (first.watch.site.name, second.watch.site.name) == ("net", "net.0")
    assert torch.equal(first.kept[0][0]["input"], second.kept[0][0]["input"])
    assert all("forward" not in vars(module) for module in host.modules())


def test_halves_that_autocast_made_are_widened() -> None:
    spy = Spy("net.2")
    validate(Host(), spy, precision="bf16-mixed")
    assert spy.kept[0][0]["input"].dtype == torch.float32


def test_a_lent_network_is_the_plain_network_in_evaluation_mode() -> None:
    host, spy = Host(make_noisy_net()), Spy()
    validate(host, spy)
    assert spy.watch.site is not None
    host.net.train()
    host.net[3].eval()
    modes, before = [m.training for m in host.modules()], weights(host)
    state = torch.get_rng_state()
    x = spy.kept[0][0]
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16), evaluating(spy.watch.site) as f:
        answer = f(x)
        slope = torch.func.jvp(lambda x: f({"input": x}), (x["input"],), (torch.ones_like(x["input"]),))[1]
    assert answer.dtype == torch.float32 and not answer.requires_grad and not answer.is_inference()
    assert [m.training for m in host.modules()] == modes
    assert same(before, weights(host)) and torch.equal(state, torch.get_rng_state())
    host.net.eval()
    torch.testing.assert_close(answer, host.net(x["input"]).detach())
    ahead, behind = (host.net(x["input"] + step).detach() for step in (1e-2, -1e-2))
    torch.testing.assert_close(slope, (ahead - behind) / 2e-2, rtol=1e-2, atol=1e-4)


def test_a_transformer_can_be_differentiated_forwards() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    x = torch.randn(2, 3, 4)
    with (
        evaluating(Site(".", layer, layer.forward)) as f,
        torch.nn.attention.sdpa_kernel([torch.nn.attention.SDPBackend.MATH]),
    ):
        slope = torch.func.jvp(lambda x: f({"src": x}), (x,), (torch.ones_like(x),))[1]
    assert slope.isfinite().all()
    assert torch.backends.mha.get_fastpath_enabled() and layer.training


def test_make_net_is_not_touched_by_a_watch_that_never_starts() -> None:
    watch, net = NetworkWatch(None), make_net()
    watch.stop()
    watch.demand_found()
    assert watch.site is None and "forward" not in vars(net)
