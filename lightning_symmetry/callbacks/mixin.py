"""`SymmetryMixin`: a LightningModule that states its symmetries and penalises them where its author wants."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from lightning_symmetry.balancing import Balancer
from lightning_symmetry.callbacks.defaults import build_symmetries, choose_balance, choose_losses
from lightning_symmetry.callbacks.measured import Measured
from lightning_symmetry.callbacks.moving import draw_nothing
from lightning_symmetry.callbacks.objective import Objective
from lightning_symmetry.callbacks.refusals import refuse_unsupported
from lightning_symmetry.callbacks.schedule import count_batches
from lightning_symmetry.callbacks.second_pass import RandomState, make_look, make_second_pass
from lightning_symmetry.callbacks.site import Site
from lightning_symmetry.exceptions import InvalidSetting, NoGradient
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.losses import Call, Loss
from lightning_symmetry.samplers import limit_widths
from lightning_symmetry.symmetry import Symmetry

_REMEDY = (
    "Give its shape, as in 'learned(2, dim=2, affine=False) on vector -> vector', and touch self.symmetry_parts in "
    "__init__, so that self.parameters() has it; or let LearnableAugmentation learn it with an optimizer of its own."
)


@final
class SymmetryParts(nn.Module):
    """What a module's symmetry loss is made of, registered in the module.

    Args:
        symmetries: As `SymmetryMixin.symmetries` gives them.
        losses: Penalties; None for the usual ones.
        balance: Their strengths; None for the usual ones.

    Raises:
        NoGradient: A learnable group waits for data to get its shape, when no optimizer will take it over any more.
    """

    def __init__(
        self,
        symmetries: Any,
        losses: Sequence[Loss] | None,
        balance: Balancer | float | Sequence[float] | str | None,
    ) -> None:
        super().__init__()
        built = build_symmetries(symmetries)
        for symmetry in built:
            if symmetry.group.learnable and not list(symmetry.group.parameters()):
                raise NoGradient(f"{symmetry.sentence!r}, whose shape is still open", "a learnable group's", _REMEDY)
        if balance is None:
            balance = 1.0 if losses is not None else choose_balance(built)
        # Any, since torch types what a list holds as plain modules
        self.symmetries: Any = nn.ModuleList(built)
        self.objective = Objective(choose_losses(built) if losses is None else losses, balance)
        self.objective.demand_strengths(len(built))
        if self.objective.balance.observes or self.objective.balance.differentiates:
            raise InvalidSetting(
                got=f"{type(self.objective.balance).__name__} for symmetry_loss, which never learns the task's loss",
                expected="strengths that do not depend on it",
                remedy="Give the balancer numbers (strength=, epsilon=), or use a callback, which sees the whole step.",
            )
        self.calls = 0
        self._noted: int | None = None
        self._waiting: tuple[int, Tensor] | None = None
        self.optimizers_seen: tuple[int, ...] = ()

    @property
    def argument(self) -> str | None:
        """Name that the paths of the input begin with, where they agree: that of a map's only argument."""
        paths = [path for symmetry in self.symmetries for path, _ in symmetry.input.parts if path]
        names = {path.partition(".")[0] for path in paths}
        return names.pop() if len(names) == 1 else None

    @property
    def learnable(self) -> list[nn.Parameter]:
        """What an optimizer has to hold."""
        return [p for p in self.parameters() if p.requires_grad]

    def bind(self, x: Any, y: Any = None) -> None:
        """Complete paths and dimensions.

        Raises:
            NoGradient: A learnable part got its shape only now, when no optimizer will take it over any more.
        """
        before = len(self.learnable)
        # what is made in inference mode could not be trained later
        with torch.inference_mode(False):
            for symmetry in self.symmetries:
                symmetry.bind(x, y)
        if len(self.learnable) > before:
            raise NoGradient("a learnable action whose shape only the data tell", "one that is known before", _REMEDY)

    def note(self, terms: Tensor, step: int) -> None:
        """Keep the values of a batch, as means over ranks; of several calls in one, the first counts.

        Args:
            terms: (T,), NaN where nothing was measured.
            step: The batch.
        """
        if not self.objective.balance.tracks or self._noted == step:
            return
        measured, self._noted = Measured(), step
        measured.note(terms)
        values = measured.collect(len(terms), terms.device)
        self._waiting = None if values is None else (step, values)

    def learn(self, step: int | None = None) -> None:
        """Tell the balancer what was noted in an earlier batch: within one, every call has the same strengths.

        Args:
            step: The batch that is under way; None between batches.
        """
        if self._waiting is not None and self._waiting[0] != step:
            (batch, values), self._waiting = self._waiting, None
            self.objective.balance.track(values, batch)

    def _save_to_state_dict(self, *args: Any) -> None:
        self.learn()
        super()._save_to_state_dict(*args)

    def _load_from_state_dict(self, *args: Any) -> None:
        self._noted = self._waiting = None
        super()._load_from_state_dict(*args)

    def demand_trained(self, optimizers: Sequence[Any]) -> None:
        """Check that what is learnable is in some optimizer.

        Raises:
            NoGradient: It is in none.
        """
        seen = tuple(map(id, optimizers))
        if seen == self.optimizers_seen:
            return
        groups = [group for optimizer in optimizers for group in getattr(optimizer, "param_groups", [])]
        held = {id(p) for group in groups for p in group["params"]}
        # a module that steps optimizers of its own hides them from the trainer
        if held and any(id(p) not in held for p in self.learnable):
            raise NoGradient("a learnable symmetry that no optimizer of the trainer holds", "one that does", _REMEDY)
        self.optimizers_seen = seen


class SymmetryMixin(ABC):
    """Symmetries as part of a LightningModule: ``class Lit(SymmetryMixin, L.LightningModule)``.

    `symmetries` states them once: every callback of this package takes them where it is given none, and
    `symmetry_loss` is their penalty, for an author who adds it to the loss by hand, in automatic or manual
    optimization. What the penalty learns belongs to the module: it is registered in ``symmetry_parts`` and so in
    ``self.parameters()``, ``state_dict`` and DDP's synchronisation. The parts are built when they are first used; one
    that is learnt has to have its shape in the sentence (``learned(2, dim=2, affine=False) on ...``) and to be touched
    (``self.symmetry_parts``) in ``__init__`` or ``configure_optimizers``, before the optimizer is made.

    Attributes:
        symmetry_seed: Seed of the drawn group elements.

    Example:
        >>> class Net(SymmetryMixin, nn.Linear):
        ...     def symmetries(self):
        ...         return "SO(2) on vector -> vector"
        >>> net = Net(2, 2, bias=False)
        >>> with torch.no_grad():
        ...     _ = net.weight.copy_(torch.eye(2))
        >>> bool(net.symmetry_loss(net, torch.randn(8, 2)) < 1e-10)  # the identity has every symmetry
        True
    """

    symmetry_seed: int = 0

    @abstractmethod
    def symmetries(self) -> Any:
        """Give a sentence, a saved symmetry, a mapping, a `Symmetry`, or a list of those."""

    def symmetry_losses(self) -> Sequence[Loss] | None:
        """Give the penalties; `Equivariance` unless overridden, with what a learnt group needs beside it."""
        return None

    def symmetry_balance(self) -> Balancer | float | Sequence[float] | str | None:
        """Give their strengths; by default 1 for all, and those of `LearnableAugmentation` where a group is learnt."""
        return None

    @property
    def symmetry_parts(self) -> SymmetryParts:
        """The built symmetries, losses and balance, a submodule of this module.

        Raises:
            InvalidSetting: ``super().__init__()`` has not run yet.
        """
        modules = self.__dict__.get("_modules")
        if modules is None:
            raise InvalidSetting("symmetry_parts before super().__init__()", "it after", "Exchange the two lines.")
        if "symmetry_parts" not in modules:
            with torch.inference_mode(False):
                parts = SymmetryParts(self.symmetries(), self.symmetry_losses(), self.symmetry_balance())
            modules["symmetry_parts"] = parts
        return cast(SymmetryParts, modules["symmetry_parts"])

    @torch.compiler.disable  # a compiler cannot follow how the traces of a second forward are undone
    def symmetry_loss(self, f: Callable[[Any], Any], x: Any, y: Any = None) -> Tensor:
        """Compute the penalty of this module's symmetries on one of its maps.

        sum_i strength_i mean_b loss_i(b), with the losses of `symmetry_losses` on elements drawn for every row.
        It leaves no trace: batch-norm statistics, other buffers and the global random numbers are those of a step
        without it. Elements depend on (seed, batch, global row) alone, so that a second call in the same batch draws
        the same ones, and a resumed run goes on exactly; without a trainer each call counts as a batch.

        Args:
            f: A submodule, or any map of one argument that calls submodules; the sentence's paths begin with that
                argument's name (``batch.pos=points``), as they do for callbacks.
            x: Its input, of B rows.
            y: f(x), where it has been computed already; else one more forward does.

        Returns:
            A scalar with gradient for the network and what is learnable; 0, without any draw or forward, where all
            strengths are 0.

        Raises:
            NoGradient: Something learnable is held by no optimizer of the trainer.

        Cost: one forward (and backward) a view.
        """
        parts, trainer = self.symmetry_parts, _find_trainer(self)
        training = bool(getattr(trainer, "training", False))
        if training:
            refuse_unsupported(trainer, self)
            if parts.learnable:
                parts.demand_trained(trainer.optimizers)
        batch = getattr(getattr(trainer, "fit_loop", None), "total_batch_idx", None)
        step = parts.calls if batch is None else max(batch, 0)
        parts.calls += 1
        learning = training or trainer is None
        if learning:
            parts.objective.balance.plan(count_batches(trainer) if training else None)
            parts.learn(step)
        for symmetry in parts.symmetries:
            limit_widths(symmetry.sampler, symmetry.moves_pictures)
        chosen = parts.objective.choose_terms(len(parts.symmetries), step)
        # every learnable part takes part in every step, which DDP demands
        rest = [0.0 * p.sum() for p in parts.learnable]
        if not any(chosen):
            return torch.stack(rest).sum() if rest else torch.zeros((), device=_device(self))
        name = parts.argument or _find_argument(f)
        site = Site(type(f).__name__, cast(nn.Module, f if isinstance(f, nn.Module) else self), _rename(f, name))
        named = {name: x}
        parts.bind(named)
        run = make_second_pass(site, RandomState(parts.symmetries[0].leading(named).device))
        look = make_look(run, site, parts.objective.features)
        # what submodules said on the way to an answer that is given is not known
        answer, said = look(named) if y is None or parts.objective.features else (y, {})
        parts.bind(named, answer)
        place = getattr(trainer, "global_rank", 0), getattr(trainer, "world_size", 1)
        rng = Rng(self.symmetry_seed, step, *place)
        views = max(loss.views for loss in parts.objective.choose_active(chosen))
        calls = []
        for i, symmetry in enumerate(cast("list[Symmetry]", list(parts.symmetries))):
            wanted = parts.objective.wants_elements(chosen, i)
            g, weights = symmetry.sample(named, views, rng) if wanted else draw_nothing(symmetry.leading(named))
            calls.append(Call(run, named, answer, g, weights, symmetry, rng, step, site.module, look, said))
        outcome = parts.objective(calls, chosen)
        terms = torch.stack(outcome.terms)
        if learning:
            parts.note(terms, step)
        penalty = terms.new_zeros(()) if outcome.penalty is None else outcome.penalty
        return torch.stack([penalty, *(one.to(penalty) for one in rest)]).sum()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        # a checkpoint that holds the parts is loaded before anything has touched them
        if any(key.startswith(f"{prefix}symmetry_parts.") for key in state_dict):
            self.symmetry_parts  # noqa: B018
        super()._load_from_state_dict(state_dict, prefix, *args)  # type: ignore[misc]


def _find_trainer(module: Any) -> Any:
    try:
        return getattr(module, "trainer", None)
    except RuntimeError:
        # Lightning's property raises where there is none
        return None


def _device(module: Any) -> torch.device:
    return next((p.device for p in module.parameters()), torch.device("cpu"))


def _find_argument(f: Callable[[Any], Any]) -> str:
    try:
        return next(iter(inspect.signature(f.forward if isinstance(f, nn.Module) else f).parameters), "x")
    except (TypeError, ValueError):
        # built-in functions tell no names
        return "x"


def _rename(f: Callable[[Any], Any], name: str) -> Callable[..., Any]:
    """Call f, with its hooks, by an argument of that name."""

    def call(x: Any) -> Any:
        return f(x)

    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    )
    return call
