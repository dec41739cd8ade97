"""However the training step calls its network, the penalty is that of the very call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.regression import MeanSquaredError

from tests.seam.boring import (
    Host,
    close,
    deal,
    fit,
    gap_callback,
    make_callback,
    make_data,
    make_loader,
    make_net,
    same,
    weights,
)


class Styled(Host):
    """Calls its network in the style that it is told."""

    def __init__(self, style: Callable[[Styled, Tensor], Tensor], net: nn.Module | None = None) -> None:
        super().__init__(net)
        self.style = style

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return F.mse_loss(self.style(self, x), y)


class Several(nn.Module):
    """Takes several arguments; the second is a number, the third may be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = make_net()

    def forward(self, x: Tensor, factor: float, shift: Tensor | None = None, *, flag: bool = False) -> Tensor:
        return self.inner(x) * factor + (0 if shift is None else 0 * shift.sum())


class Loose(nn.Module):
    """Takes whatever comes."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = make_net()

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.inner(*args, **kwargs)


class Loosest(Loose):
    """Has no names for what it takes by its place."""

    def forward(self, first: Tensor, /, *rest: Any, **kwargs: Any) -> Tensor:
        x = kwargs.get("pos", rest[0] if rest else first)
        return self.inner(x)


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.b = make_net()
        self.unused = nn.Linear(2, 2)


def preprocess(x: Tensor) -> Tensor:
    y = torch.stack([x[:, 0], x[:, 1]], dim=1)
    y += 0
    return (y * 2).clone().view(-1, 2).split(2, dim=1)[0] / 2


STYLES: dict[str, tuple[Any, Any, str]] = {
    "self(x)": (lambda host, x: host(x), make_net, "."),
    "self.forward(x)": (lambda host, x: host.forward(x), make_net, "."),
    "self.net(x)": (lambda host, x: host.net(x), make_net, "net"),
    "self.net.forward(x)": (lambda host, x: host.net.forward(x), make_net, "net"),
    "keyword": (lambda host, x: host.net(input=x), make_net, "net"),
    "self(x=x)": (lambda host, x: host(x=x), make_net, "."),
    "several arguments": (lambda host, x: host.net(x, 1.0), Several, "net"),
    "mixed arguments": (lambda host, x: host.net(x, factor=1.0, flag=True), Several, "net"),
    "loose arguments": (lambda host, x: host.net(x), Loose, "net"),
    "loose keyword": (lambda host, x: host.net(input=x), Loose, "net"),
    "preprocessed": (lambda host, x: host.net(preprocess(x)), make_net, "net"),
    "divided": (lambda host, x: host.net(x / 2 * 2), make_net, "net"),
    "nested": (lambda host, x: host.net.b(x), Nested, "net.b"),
    "list element": (lambda host, x: host.net[1](x), lambda: nn.ModuleList([nn.Linear(2, 2), make_net()]), "net.1"),
    "dict element": (lambda host, x: host.net["a"](x), lambda: nn.ModuleDict({"a": make_net()}), "net.a"),
}


def train_by_hand_weights() -> dict[str, Tensor]:
    host = Host()
    fit(host, gap_callback(module="net"), data=deal(make_data()))
    return {k.removeprefix("net."): v for k, v in weights(host).items()}


@pytest.mark.parametrize("style", STYLES)
def test_styles(style: str) -> None:
    call, build, found = STYLES[style]
    host, callback = Styled(call, build()), gap_callback()
    fit(host, callback, data=deal(make_data()))
    assert callback._tap.found == found
    trained = weights(
        host.get_submodule("net.inner" if hasattr(host.net, "inner") else "net" if found == "." else found)
    )
    assert close(trained, train_by_hand_weights())


@pytest.mark.parametrize(
    ("path", "call", "build"),
    [
        ("args.0", lambda host, x: host.net(x), Loose),
        ("kwargs.input", lambda host, x: host.net(input=x), Loose),
        ("first", lambda host, x: host.net(x), Loosest),
        ("rest.0", lambda host, x: host.net(0 * x, x), Loosest),
        ("kwargs.pos", lambda host, x: host.net(0 * x, pos=x), Loosest),
        ("x", lambda host, x: host.net(x, 1.0, shift=x), Several),
    ],
)
def test_arguments_without_names_have_paths(path: str, call: Any, build: Any) -> None:
    host, callback = Styled(call, build()), gap_callback(sentence=f"{path}=vector -> vector")
    fit(host, callback, data=deal(make_data()))
    assert close(weights(host.net.inner), train_by_hand_weights())


class SharedStep(Host):
    def shared_step(self, batch: Any, stage: str) -> Tensor:
        x, y = batch
        return F.mse_loss(self(x), y)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.shared_step(batch, "train")

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.shared_step(batch, "val")


def timed(function: Any) -> Any:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


class Decorated(Host):
    @timed
    @timed
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        assert isinstance(batch_idx, int)
        x, y = batch
        return F.mse_loss(self.net(x), y)


class DecoratedWithoutIndex(Host):
    @timed
    def training_step(self, batch: Any) -> Tensor:
        x, y = batch
        return F.mse_loss(self.net(x), y)


class WithoutIndex(Host):
    def training_step(self, batch: Any) -> Tensor:
        x, y = batch
        return F.mse_loss(self.net(x), y)


class WithLoaderIndex(Host):
    def training_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        assert isinstance(batch_idx, int) and dataloader_idx == 0
        x, y = batch
        return F.mse_loss(self.net(x), y)


class AnyArguments(Host):
    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        (x, y), *_ = args
        return F.mse_loss(self.net(x), y)


class Static(Host):
    @staticmethod
    def loss(host: Host, batch: Any) -> Tensor:
        x, y = batch
        return F.mse_loss(host.net(x), y)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(self, batch)


class CompiledChild(Host):
    """The network is compiled in setup, after the callbacks' own."""

    def setup(self, stage: str) -> None:
        self.compiled = torch.compile(self.net, backend="eager")

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return F.mse_loss(self.compiled(x), y)


class CompiledInPlace(Host):
    def __init__(self) -> None:
        super().__init__()
        self.net.compile(backend="eager")


@pytest.mark.parametrize(
    "kind",
    [
        SharedStep,
        Decorated,
        DecoratedWithoutIndex,
        WithoutIndex,
        WithLoaderIndex,
        AnyArguments,
        Static,
        CompiledChild,
        CompiledInPlace,
    ],
)
def test_steps(kind: type[Host]) -> None:
    host, callback = kind(), gap_callback()
    fit(host, callback, data=deal(make_data()))
    trained = {k.removeprefix("net."): v for k, v in weights(host).items() if k.startswith("net.")}
    assert close(trained, train_by_hand_weights())
    assert callback.step == 4 and own_norm_moved(callback)
    assert "training_step" not in vars(host)


def own_norm_moved(callback: Any) -> bool:
    return bool(callback._clock.optimizer.state)


@pytest.mark.slow
def test_a_module_that_is_compiled_as_a_whole() -> None:
    host, callback = Host(), gap_callback()
    fit(torch.compile(host, backend="eager"), callback, data=deal(make_data()))
    trained = {k.removeprefix("net."): v for k, v in weights(host).items()}
    assert close(trained, train_by_hand_weights())


# ---------------------------------------------------------------- batches


class Pair(NamedTuple):
    x: Tensor
    y: Tensor


@dataclass
class Record:
    x: Tensor
    y: Tensor
    name: str = "a"


@dataclass(frozen=True)
class FrozenRecord:
    x: Tensor
    y: Tensor


@dataclass
class SlottedRecord:
    __slots__ = ("x", "y")
    x: Tensor
    y: Tensor


class Whole(nn.Module):
    """Takes the batch itself."""

    def __init__(self, read: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.inner, self.read = make_net(), read

    def forward(self, batch: Any) -> Tensor:
        return self.inner(self.read(batch))


class WholeBatch(Host):
    def __init__(self, read: Callable[[Any], tuple[Tensor, Tensor]], apart: bool) -> None:
        super().__init__(make_net() if apart else Whole(lambda batch: read(batch)[0]))
        self.read, self.apart = read, apart

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = self.read(batch)
        return F.mse_loss(self.net(x) if self.apart else self.net(batch), y)


BATCHES: dict[str, tuple[Callable[[Tensor, Tensor], Any], Callable[[Any], tuple[Tensor, Tensor]], str]] = {
    "tuple": (lambda x, y: (x, y), lambda b: (b[0], b[1]), "batch.0"),
    "list": (lambda x, y: [x, y], lambda b: (b[0], b[1]), "batch.0"),
    "dict": (lambda x, y: {"x": x, "y": y, "n": 3, "s": "t", "no": None}, lambda b: (b["x"], b["y"]), "batch.x"),
    "dotted keys": (lambda x, y: {"a.x": x, "a": {"y": y}}, lambda b: (b["a.x"], b["a"]["y"]), "batch.a.x"),
    "nested": (lambda x, y: {"in": [{"x": x}], "y": (y,)}, lambda b: (b["in"][0]["x"], b["y"][0]), "batch.in.0.x"),
    "named tuple": (Pair, lambda b: (b.x, b.y), "batch.x"),
    "dataclass": (Record, lambda b: (b.x, b.y), "batch.x"),
    "frozen dataclass": (FrozenRecord, lambda b: (b.x, b.y), "batch.x"),
    "slotted dataclass": (SlottedRecord, lambda b: (b.x, b.y), "batch.x"),
    "empty parts": (lambda x, y: (x, y, x[:, :0], []), lambda b: (b[0], b[1]), "batch.0"),
}


@pytest.mark.parametrize("apart", [True, False], ids=["parts", "whole"])
@pytest.mark.parametrize("batch", BATCHES)
def test_batches(batch: str, apart: bool) -> None:
    pack, read, path = BATCHES[batch]
    host = WholeBatch(read, apart)
    # Lightning rebuilds batches on transfer, which frozen records refuse; that is not ours to test
    host.transfer_batch_to_device = lambda batch, device, dataloader_idx: batch
    callback = gap_callback(sentence="vector -> vector" if apart else f"{path}=vector -> vector")
    fit(host, callback, data=deal([pack(x, y) for x, y in make_data()]))
    trained = {k.removeprefix("net.").removeprefix("inner."): v for k, v in weights(host).items()}
    assert close(trained, train_by_hand_weights())


def test_batches_are_never_changed() -> None:
    data = [{"x": x, "y": y} for x, y in make_data()]
    before = [(b["x"].clone(), b["y"].clone(), b["x"]) for b in data]
    host = WholeBatch(lambda b: (b["x"], b["y"]), apart=False)
    fit(host, make_callback("batch.x=vector -> vector", probability=1.0), data=deal(data))
    for batch, (x, y, itself) in zip(data, before, strict=True):
        assert batch["x"] is itself and torch.equal(batch["x"], x) and torch.equal(batch["y"], y)


# ---------------------------------------------------------------- what is not the network


class Criterion(nn.Module):
    """A criterion with a temperature of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, y: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(y, target) * self.temperature.detach()


class Crowded(Host):
    """Criterions, metrics and a teacher all see what comes from the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.criterion, self.own_criterion = nn.MSELoss(), Criterion()
        self.metric = MeanSquaredError(num_outputs=2)
        self.teacher = make_net(3).requires_grad_(False)
        self.norm, self.drop = nn.Identity(), nn.Dropout(0.0)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        with torch.no_grad():
            self.teacher(x)
        answer = self.drop(self.net(self.norm(x)))
        self.metric(answer.detach(), y)
        return 0.5 * self.criterion(answer, y) + 0.5 * self.own_criterion(answer, y)


def test_criterions_metrics_and_teachers_are_not_the_network() -> None:
    host, callback = Crowded(), gap_callback()
    fit(host, callback, data=deal(make_data()))
    assert callback._tap.found == "net"
    trained = {k.removeprefix("net."): v for k, v in weights(host).items() if k.startswith("net.")}
    assert close(trained, train_by_hand_weights())
    assert host.metric._update_count == 4


class WithExample(Host):
    def __init__(self) -> None:
        super().__init__()
        self.example_input_array = torch.zeros(2, 2)


def test_a_summary_is_not_a_step() -> None:
    host, callback = WithExample(), gap_callback()
    fit(host, callback, data=deal(make_data()), enable_model_summary=True)
    trained = {k.removeprefix("net."): v for k, v in weights(host).items()}
    assert callback.step == 4 and close(trained, train_by_hand_weights())


class ValidatesByTraining(Host):
    """Its validation step is its training step."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", self.training_step(batch, batch_idx))


def test_a_validation_step_that_calls_the_training_step_is_no_training() -> None:
    plain, host, callback = ValidatesByTraining(), ValidatesByTraining(), gap_callback(0.0)
    fit(plain, val=make_loader(), num_sanity_val_steps=2)
    fit(host, callback, val=make_loader(), num_sanity_val_steps=2)
    assert same(weights(plain), weights(host))
    assert callback.step == len(make_data())
    learning = gap_callback()
    fit(ValidatesByTraining(), learning, val=make_loader(), num_sanity_val_steps=2)
    assert learning.step == len(make_data())
