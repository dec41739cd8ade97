"""The criterion tap: which loss compares the network's answer with which target, and repeats it sample by sample."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as L
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_symmetry.callbacks.criterion import KNOWN, Criterion
from lightning_symmetry.callbacks.criterion_tap import CriterionTap
from lightning_symmetry.callbacks.site import Site
from lightning_symmetry.callbacks.tap import Tap
from lightning_symmetry.exceptions import InvalidSetting, SymmetryError, TargetError
from lightning_symmetry.rows import Rows
from tests.seam.boring import ROWS, Host, ManualHost, deal, fit, make_net, same, weights

STEPS = 4


class Probe(L.Callback):
    """Watches the criterion and does nothing with it."""

    def __init__(self, criterion: str | None = None, module: str | None = "net") -> None:
        self.criterion, self.tap = CriterionTap(criterion), Tap(self, module)
        self.tap.beside = self.criterion.watching
        self.answers: list[Any] = []
        self.batches: list[Any] = []
        self.traced: list[bool] = []
        self.seen: list[Tensor] = []

    needs_output = True

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.tap.install(pl_module)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.tap.remove()

    on_exception = teardown

    def is_listening(self) -> bool:
        return True

    def on_step_begin(self) -> None:
        pass

    on_repeat = on_step_begin

    def on_call(self, site: Site, args: Any, kwargs: Any) -> Any:
        with self.criterion.paused():
            y = site.forward(*args, **kwargs)
        self.criterion.note_answer(y, len(args[0]), Rows())
        self.answers.append(y)
        self.batches.append(self.criterion.batch)
        return y

    def on_step_output(self, output: Any) -> None:
        pass

    def on_step_end(self, output: Any) -> Any:
        self.traced.append(self.criterion._trace is not None)
        self.criterion.learn(output)
        if self.criterion.criterion is not None:
            with torch.no_grad():
                losses = self.criterion.criterion.per_sample(self.answers[-1], self.batches[-1], ROWS)
            self.seen.append(losses)
        return output

    @property
    def found(self) -> Criterion:
        assert self.criterion.criterion is not None
        return self.criterion.criterion


class Stepping(Host):
    """A host whose loss a test writes down."""

    def __init__(self, step: Callable[[Any, Any], Any], net: nn.Module | None = None) -> None:
        super().__init__(net)
        self.step = step

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.step(self, batch)


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def classes(count: int = 2, *shape: int, seed: int = 3) -> Tensor:
    return torch.randint(count, (ROWS, *shape), generator=torch.Generator().manual_seed(seed))


def make_batches(target: Callable[[int], Any], steps: int = STEPS) -> list[Any]:
    return [(rows(ROWS, 2, seed=10 + i), target(i)) for i in range(steps)]


def probe(
    step: Callable[[Any, Any], Any],
    batches: list[Any],
    net: nn.Module | None = None,
    prepare: Callable[[Host], None] | None = None,
    criterion: str | None = None,
    **settings: Any,
) -> Probe:
    host, watching = Stepping(step, net), Probe(criterion)
    if prepare is not None:
        prepare(host)
    fit(host, watching, data=deal(batches), **settings)
    return watching


def check(watching: Probe, oracle: Callable[[Tensor, Any], Tensor], batch: Any, answer: Any = None) -> None:
    """On answers that were never seen, and targets of another batch."""
    answer = rows(ROWS, 2, seed=99) if answer is None else answer
    torch.testing.assert_close(watching.found.per_sample(answer, batch, len(batch[0])), oracle(answer, batch))


def unit(i: int) -> Tensor:
    return rows(ROWS, 2, seed=i).sigmoid()


PAIRS: dict[Callable[..., Any], tuple[Callable[[int], Tensor], dict[str, Any]]] = {
    F.cross_entropy: (lambda i: classes(seed=i), {"label_smoothing": 0.1}),
    F.nll_loss: (lambda i: classes(seed=i), {}),
    F.mse_loss: (lambda i: rows(ROWS, 2, seed=i), {}),
    F.l1_loss: (lambda i: rows(ROWS, 2, seed=i), {}),
    F.smooth_l1_loss: (lambda i: rows(ROWS, 2, seed=i), {"beta": 0.5}),
    F.huber_loss: (lambda i: rows(ROWS, 2, seed=i), {"delta": 0.5}),
    F.binary_cross_entropy: (unit, {}),
    F.binary_cross_entropy_with_logits: (unit, {"pos_weight": torch.tensor([1.0, 3.0])}),
    F.kl_div: (lambda i: rows(ROWS, 2, seed=i).softmax(1), {}),
    F.soft_margin_loss: (lambda i: rows(ROWS, 2, seed=i).sign(), {}),
    F.multi_margin_loss: (lambda i: classes(seed=i), {"margin": 0.5}),
    F.multilabel_margin_loss: (lambda i: torch.stack((classes(seed=i), torch.full((ROWS,), -1)), 1), {}),
    F.multilabel_soft_margin_loss: (lambda i: unit(i).round(), {}),
    F.hinge_embedding_loss: (lambda i: rows(ROWS, 2, seed=i).sign(), {}),
}
CHAINS: dict[Callable[..., Any], Callable[[Tensor], Tensor]] = {
    F.nll_loss: lambda y: F.log_softmax(y, 1),
    F.binary_cross_entropy: lambda y: y.sigmoid(),
    F.kl_div: lambda y: torch.log_softmax(y, dim=-1),
    F.hinge_embedding_loss: lambda y: y.square(),
}


def values_of(function: Any, answer: Tensor, target: Tensor, **settings: Any) -> Tensor:
    prediction = CHAINS.get(function, lambda y: y)(answer)
    values = function(prediction, target, reduction="none", **settings)
    # the mean of a divergence over classes may be negative for one class alone, never for all of them
    return values.reshape(len(answer), -1).mean(1)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
@pytest.mark.parametrize("function", KNOWN, ids=lambda f: f.__name__)
def test_every_known_loss_is_repeated_sample_by_sample(function: Any) -> None:
    target, settings = PAIRS[function]
    batches = make_batches(target)
    found = probe(lambda h, b: function(CHAINS.get(function, lambda y: y)(h.net(b[0])), b[1], **settings), batches)
    assert found.found.name == function.__name__ and found.criterion.knows_target
    assert found.found.place == "batch.1"
    check(found, lambda y, b: values_of(function, y, b[1], **settings), batches[0])


def test_modules_of_torch_are_seen_through() -> None:
    weight = torch.tensor([1.0, 4.0])

    def prepare(host: Host) -> None:
        host.loss_fn = nn.CrossEntropyLoss(weight=weight, label_smoothing=0.2)

    batches = make_batches(lambda i: classes(seed=i))
    found = probe(lambda h, b: h.loss_fn(h.net(b[0]), b[1]), batches, prepare=prepare)
    check(
        found,
        lambda y, b: F.cross_entropy(y, b[1], weight, reduction="none", label_smoothing=0.2),
        batches[2],
    )


def test_what_is_compared_may_stand_on_either_side() -> None:
    batches = make_batches(lambda i: rows(ROWS, 2, seed=i))
    found = probe(lambda h, b: F.mse_loss(b[1], h.net(b[0])), batches)
    check(found, lambda y, b: (y - b[1]).square().mean(1), batches[1])


@dataclass
class Item:
    x: Tensor
    more: dict[str, Any]


PLACES: dict[str, tuple[Callable[[Tensor, Tensor], Any], Callable[[Any], tuple[Tensor, Tensor]], str]] = {
    "a dict": (lambda x, y: {"y": y, "x": x}, lambda b: (b["x"], b["y"]), "batch.y"),
    "nested": (lambda x, y: [x, {"a": (None, y)}], lambda b: (b[0], b[1]["a"][1]), "batch.1.a.1"),
    "a dataclass": (lambda x, y: Item(x, {"y": y, "n": 3}), lambda b: (b.x, b.more["y"]), "batch.more.y"),
    "a column": (
        lambda x, y: (x, torch.stack((y, y + 1), 1)),
        lambda b: (b[0], b[1][:, 0]),
        "__getitem__ of the batch",
    ),
    "converted": (lambda x, y: (x, y.to(torch.int16)), lambda b: (b[0], b[1].long()), "long of the batch"),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_target_is_found_wherever_it_lies(place: str) -> None:
    build, split, words = PLACES[place]
    batches = [build(x, classes(seed=i)) for i, (x, _) in enumerate(make_batches(lambda i: None))]

    def step(host: Any, batch: Any) -> Tensor:
        x, y = split(batch)
        return F.cross_entropy(host.net(x), y)

    found = probe(step, batches)
    assert found.criterion.knows_target and found.found.place == words
    answer = rows(ROWS, 2, seed=99)
    expected = F.cross_entropy(answer, split(batches[0])[1], reduction="none")
    torch.testing.assert_close(found.found.per_sample(answer, batches[0], ROWS), expected)


def test_an_autoencoder_is_compared_with_its_input() -> None:
    batches = [(rows(ROWS, 2, seed=i),) for i in range(STEPS)]
    found = probe(lambda h, b: F.mse_loss(h.net(b[0]), b[0]), batches)
    assert found.found.place == "batch.0"
    check(found, lambda y, b: (y - b[0]).square().mean(1), batches[0])


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = make_net()

    def forward(self, x: Tensor) -> dict[str, Any]:
        y = self.net(x)
        return {"logits": y.unsqueeze(1), "extra": (y.exp(), None)}


def test_one_tensor_of_a_structured_answer() -> None:
    batches = make_batches(lambda i: classes(seed=i))
    found = probe(lambda h, b: F.cross_entropy(h.net(b[0])["logits"].squeeze(1).float(), b[1]), batches, Several())
    answer = {"logits": rows(ROWS, 1, 2, seed=99), "extra": (torch.zeros(ROWS, 2), None)}
    check(found, lambda y, b: F.cross_entropy(y["logits"][:, 0], b[1], reduction="none"), batches[0], answer)


def make_sequences() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 12), nn.Unflatten(1, (4, 3)))


def padded(i: int) -> Tensor:
    target = classes(3, 4, seed=i)
    target[0, 2:] = -100
    target[1, :3] = -100
    return target


@pytest.mark.parametrize("flatten", [True, False], ids=["rows", "classes second"])
def test_several_rows_of_a_sample_are_averaged_and_ignored_ones_do_not_count(flatten: bool) -> None:
    def step(host: Any, batch: Any) -> Tensor:
        y, target = host.net(batch[0]), batch[1]
        if flatten:
            return F.cross_entropy(y.reshape(-1, 3), target.flatten())
        return F.cross_entropy(y.transpose(1, 2), target)

    batches = make_batches(padded)
    found, answer, target = probe(step, batches, make_sequences()), rows(ROWS, 4, 3, seed=99), batches[0][1]
    losses = found.found.per_sample(answer, batches[0], ROWS)
    for row in range(ROWS):
        torch.testing.assert_close(losses[row], F.cross_entropy(answer[row], target[row]))


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_what_the_host_adds_is_added(reduction: str) -> None:
    batches = make_batches(lambda i: rows(ROWS, 2, seed=i))
    found = probe(lambda h, b: F.mse_loss(h.net(b[0]), b[1], reduction=reduction).sum(), batches)
    check(found, lambda y, b: (y - b[1]).square().sum(1) / (1 if reduction == "sum" else 2), batches[0])


@pytest.mark.parametrize("by", ["mean", "sum"])
def test_a_loss_without_a_function(by: str) -> None:
    batches = make_batches(lambda i: rows(ROWS, 2, seed=i))
    found = probe(lambda h, b: getattr((h.net(b[0]) - b[1]).pow(2), by)(), batches)
    check(found, lambda y, b: getattr((y - b[1]).square(), by)(1), batches[0])


def test_a_last_batch_that_is_smaller() -> None:
    batches = [*make_batches(lambda i: rows(ROWS, 2, seed=i)), (rows(3, 2, seed=5), rows(3, 2, seed=6))]
    found = probe(lambda h, b: F.mse_loss(h.net(b[0]).view(len(b[0]), -1), b[1].reshape(b[1].shape[0], 2)), batches[:4])
    check(found, lambda y, b: (y - b[1]).square().mean(1), batches[-1], rows(3, 2, seed=99))


def test_weights_of_the_host_are_taken_as_they_are_then() -> None:
    """A temperature that is learnt, and class weights in a buffer."""

    def prepare(host: Host) -> None:
        host.scale = nn.Parameter(torch.tensor(2.0))
        host.register_buffer("weight", torch.ones(2))

    batches = make_batches(lambda i: classes(seed=i))
    host = Stepping(lambda h, b: F.cross_entropy(h.net(b[0]) * h.scale.exp(), b[1], h.weight))
    prepare(host)
    watching = Probe()
    fit(host, watching, data=deal(batches))
    with torch.no_grad():
        host.scale.fill_(0.5)
        host.weight.copy_(torch.tensor([1.0, 5.0]))
        check(
            watching,
            lambda y, b: F.cross_entropy(y * host.scale.exp(), b[1], host.weight, reduction="none"),
            batches[0],
        )


def test_other_losses_of_the_step_do_not_disturb() -> None:
    """Logged beside the task, of other tensors, and added without the network's answer."""

    def step(host: Any, batch: Any) -> Tensor:
        y = host.net(batch[0])
        host.log("l1", F.l1_loss(y, batch[1]))
        with torch.no_grad():
            F.mse_loss(y, batch[1] + 1)
        decay = F.mse_loss(host.net[0].weight, torch.zeros(8, 2))
        return F.huber_loss(y, batch[1]) + 0.1 * decay

    batches = make_batches(lambda i: rows(ROWS, 2, seed=i))
    found = probe(step, batches)
    assert found.found.name == "huber_loss"
    check(found, lambda y, b: F.huber_loss(y, b[1], reduction="none").mean(1), batches[0])


def test_manual_optimization() -> None:
    watching, batches = Probe(), make_batches(lambda i: rows(ROWS, 2, seed=i))
    fit(ManualHost(), watching, data=deal(batches))
    check(watching, lambda y, b: (y - b[1]).square().mean(1), batches[0])


class Closing(Host):
    """The network is called several times on one batch."""

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), max_iter=3)


def test_closures_that_run_again() -> None:
    watching, batches = Probe(), make_batches(lambda i: rows(ROWS, 2, seed=i))
    fit(Closing(), watching, data=deal(batches))
    check(watching, lambda y, b: (y - b[1]).square().mean(1), batches[0])


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_losses_of_half_precision_answers_are_single(precision: Any) -> None:
    batches = make_batches(lambda i: rows(ROWS, 2, seed=i))
    found = probe(lambda h, b: F.mse_loss(h.net(b[0]), b[1].to(h.net[0].weight.dtype)), batches, precision=precision)
    answer = rows(ROWS, 2, seed=99).bfloat16()
    losses = found.found.per_sample(answer, batches[0], ROWS)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, (answer.float() - batches[0][1]).square().mean(1), atol=0.02, rtol=0.02)
    assert all(seen.dtype == torch.float32 for seen in found.seen)


class Focal(nn.Module):
    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction, self.power = reduction, nn.Parameter(torch.tensor(2.0))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        losses = F.cross_entropy(prediction, target, reduction="none")
        values = (1 - (-losses).exp()) ** self.power * losses
        return values if self.reduction == "none" else values.mean()


def focal(prediction: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    values = F.cross_entropy(prediction, target, reduction="none") ** 2
    return values if reduction == "none" else values.mean()


def fixed(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).abs().exp().mean()


def test_a_submodule_by_name() -> None:
    criterion = Focal()

    def prepare(host: Host) -> None:
        host.loss_fn = criterion

    batches = make_batches(lambda i: classes(seed=i))
    step = lambda h, b: h.loss_fn(h.net(b[0]), b[1]) + F.mse_loss(h.net[0].bias, torch.zeros(8))  # noqa: E731
    found = probe(step, batches, prepare=prepare, criterion="loss_fn")
    assert found.found.name == "loss_fn"
    assert criterion.reduction == "mean"
    criterion.requires_grad_(False).reduction = "none"
    check(found, lambda y, b: criterion(y, b[1]), batches[0])


def test_a_function_by_name() -> None:
    batches = make_batches(lambda i: classes(seed=i))
    before = dict(globals())
    found = probe(lambda h, b: focal(h.net(b[0]), b[1]), batches, criterion=f"{__name__}.focal")
    assert found.found.name == "tests.seam.test_criterion.focal"
    check(found, lambda y, b: focal(y, b[1], "none"), batches[0])
    assert dict(globals()) == before


def test_a_function_of_torch_by_name_decides_between_two() -> None:
    def step(host: Any, batch: Any) -> Tensor:
        y = host.net(batch[0])
        return F.mse_loss(y, batch[1]) + F.l1_loss(y, batch[1])

    batches = make_batches(lambda i: rows(ROWS, 2, seed=i))
    found = probe(step, batches, criterion="torch.nn.functional.l1_loss")
    check(found, lambda y, b: (y - b[1]).abs().mean(1), batches[0])
    with pytest.raises(TargetError, match="2 criteria.*mse_loss, l1_loss.*criterion="):
        probe(step, batches)


# ---------------------------------------------------------------- what is refused


def refused(
    match: str, step: Any, batches: Any = None, error: type[SymmetryError] = InvalidSetting, **more: Any
) -> None:
    given = make_batches(lambda i: rows(ROWS, 2, seed=i)) if batches is None else batches
    with pytest.raises(error, match=match):
        probe(step, given, **more)


def test_no_criterion_is_refused_with_what_was_seen() -> None:
    refused("calls no known loss.*criterion=", lambda h, b: h.net(b[0]).exp().norm(), error=TargetError)
    refused(
        "called on something else: mse_loss",
        lambda h, b: h.net(b[0]).exp().norm() + 0 * F.mse_loss(b[0], h.net[2].weight.T),
        error=TargetError,
    )


def test_losses_that_may_be_negative_are_refused() -> None:
    refused("may be negative", lambda h, b: F.gaussian_nll_loss(h.net(b[0]), b[1], torch.ones(ROWS, 2)))
    refused(
        "gives -.* for a sample", lambda h, b: F.nll_loss(h.net(b[0]), b[1]), make_batches(lambda i: classes(seed=i))
    )


def test_losses_without_a_reduction_are_refused() -> None:
    refused(
        'one number for 8 samples.*reduction="none"',
        lambda h, b: fixed(h.net(b[0]), b[1]),
        criterion=f"{__name__}.fixed",
    )


def test_losses_that_mix_samples_are_refused() -> None:
    def contrast(host: Any, batch: Any) -> Tensor:
        y = host.net(batch[0])
        return F.cross_entropy(y @ y.T, batch[1])

    batches = make_batches(lambda i: torch.arange(ROWS))
    refused("depends on answers to others", contrast, batches)
    late = lambda h, b: F.cross_entropy(h.net(b[0]).transpose(0, 1).reshape(-1, 3), b[1].T.reshape(-1))  # noqa: E731
    refused("depends on answers to others", late, make_batches(padded), net=make_sequences())


def test_a_prediction_that_is_drawn_at_random_is_refused() -> None:
    refused("not made of the network's answer in one fixed way", lambda h, b: F.mse_loss(F.dropout(h.net(b[0])), b[1]))


def test_an_unknown_name_is_refused_with_what_exists() -> None:
    def prepare(host: Host) -> None:
        host.loss_fn = nn.MSELoss()

    step = lambda h, b: h.loss_fn(h.net(b[0]), b[1])  # noqa: E731
    refused("neither a submodule nor.*loss_fn", step, error=TargetError, prepare=prepare, criterion="los_fn")
    refused("neither a submodule nor.*loss_fn", step, error=TargetError, prepare=prepare, criterion="nothing.like.it")


# ---------------------------------------------------------------- targets that the batch does not tell


UNKNOWN: dict[str, Callable[[Any, Any], Tensor]] = {
    "noise": lambda h, b: b[1] + 0.1 * torch.randn_like(b[1]),
    "a constant that changes": lambda h, b: b[1] * torch.rand(()),
    "another network's answer": lambda h, b: h.teacher(b[0]).detach(),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_a_target_that_the_batch_does_not_tell_is_known_after_the_step(kind: str) -> None:
    targets: list[Tensor] = []

    def step(host: Any, batch: Any) -> Tensor:
        targets.append(UNKNOWN[kind](host, batch))
        return F.mse_loss(host.net(batch[0]), targets[-1])

    def prepare(host: Host) -> None:
        # so many functions that repeating them would be a second forward
        host.teacher = nn.Sequential(*[nn.Sequential(nn.Linear(2, 2), nn.Tanh()) for _ in range(10)])

    watching = probe(step, make_batches(lambda i: rows(ROWS, 2, seed=i)), prepare=prepare)
    assert not watching.criterion.knows_target and watching.traced == [True] * STEPS
    for losses, answer, target in zip(watching.seen[1:], watching.answers[1:], targets[1:], strict=True):
        torch.testing.assert_close(losses, (answer.detach() - target).square().mean(1))


# ---------------------------------------------------------------- no trace, and resuming


def test_two_steps_are_watched_and_nothing_is_left() -> None:
    batches = make_batches(lambda i: rows(ROWS, 2, seed=i))
    step = lambda h, b: F.mse_loss(F.dropout(h.net(b[0]), 0.0), b[1])  # noqa: E731
    runs = []
    for callbacks in ([], [Probe()]):
        torch.manual_seed(0)
        host = Stepping(step)
        before = copy.deepcopy({name: set(vars(module)) for name, module in host.named_modules() if name})
        fit(host, *callbacks, data=deal(batches))
        assert before == {name: set(vars(module)) for name, module in host.named_modules() if name}
        assert torch.overrides._get_current_function_mode_stack() == []
        runs.append((weights(host), torch.get_rng_state()))
    assert same(runs[0][0], runs[1][0]) and torch.equal(runs[0][1], runs[1][1])
    assert callbacks[0].traced == [True, True, False, False]


def test_nothing_is_left_after_an_error() -> None:
    refused("calls no known loss", lambda h, b: h.net(b[0]).exp().norm(), error=TargetError)
    assert torch.overrides._get_current_function_mode_stack() == []


@pytest.mark.parametrize("criterion", [None, "loss_fn"])
def test_a_run_that_goes_on_has_nothing_to_learn(criterion: str | None) -> None:
    def prepare(host: Host) -> None:
        host.loss_fn = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]), ignore_index=-1)

    def step(host: Any, batch: Any) -> Tensor:
        y, target = host.net(batch[0]), batch["y"][:, 0].long() if isinstance(batch, dict) else batch[1][:, 0].long()
        return host.loss_fn(y.view(len(target), -1)[..., :2].to(torch.float32), target)

    batches = make_batches(lambda i: torch.stack((classes(seed=i), classes(seed=i)), 1).short())
    first = probe(step, batches, prepare=prepare, criterion=criterion)
    file = io.BytesIO()
    torch.save(first.criterion.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    host, second = Stepping(step), Probe(criterion)
    prepare(host)
    second.criterion.load_state_dict(state)
    assert second.criterion.state_dict() is state
    fit(host, second, data=deal(batches))
    assert second.traced == [False] * STEPS
    answer = rows(ROWS, 2, seed=99)
    left, right = (one.found.per_sample(answer, batches[0], ROWS) for one in (first, second))
    assert torch.equal(left, right)
