"""The engine shared by the callbacks that learn: draws, penalties, the clock, state, logs and the verdict."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_symmetry.balancing import Balancer
from lightning_symmetry.callbacks.clock import Clock
from lightning_symmetry.callbacks.defaults import ask_module, build_symmetries, holds_object, join_names
from lightning_symmetry.callbacks.features import recording
from lightning_symmetry.callbacks.gradients import Gradients, find_loss
from lightning_symmetry.callbacks.host import Callback
from lightning_symmetry.callbacks.journal import Journal
from lightning_symmetry.callbacks.measured import Measured
from lightning_symmetry.callbacks.moving import blend_moved, draw_nothing, forward_moved, move_back, stand_still
from lightning_symmetry.callbacks.objective import Objective
from lightning_symmetry.callbacks.penalty import add_to_loss, ride_on_output
from lightning_symmetry.callbacks.refusals import (
    refuse_balance,
    refuse_empty,
    refuse_non_finite,
    refuse_same_key,
    refuse_unsupported,
    refuse_unwritable,
)
from lightning_symmetry.callbacks.reservoir import Reservoir
from lightning_symmetry.callbacks.schedule import count_batches
from lightning_symmetry.callbacks.second_pass import RandomState, make_look, make_second_pass
from lightning_symmetry.callbacks.site import Site
from lightning_symmetry.callbacks.tap import Tap
from lightning_symmetry.callbacks.task_loss import TaskLoss
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.distributed import is_distributed
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Element
from lightning_symmetry.losses import Call, Loss
from lightning_symmetry.paths import find_leaves, replace_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.samplers import learns_widths, limit_widths


class SymmetryCallback(Callback, ABC):
    """What every learning callback does; finals choose the losses and whether the task's own forward is moved.

    Args:
        symmetries: One symmetry or a list: sentences, saved files, mappings or objects; None for those that the
            module states, see `SymmetryMixin`.
        module: Dotted name of the network; found by itself where one submodule is called on the batch.
        losses: Penalties added to the host's loss, for every symmetry.
        balance: Their strengths.
        every_n_steps: Penalties on every n-th batch only, n times as strong.
        turns: Whether the symmetries take turns, see `Objective`.
        lr: Learning rate of the symmetry's own optimizer.
        seed: Seed of all draws.
        name: Name in logs, files and checkpoints; by default the symmetries' names.
    """

    example = "image -> label"
    """A sentence that it takes, for messages."""

    def __init__(
        self,
        symmetries: Any,
        module: str | None,
        losses: Sequence[Loss],
        balance: Balancer | float | Sequence[float] | str,
        every_n_steps: int,
        lr: float,
        seed: int,
        name: str | None,
        turns: bool = False,
    ) -> None:
        super().__init__()
        if lr <= 0:
            raise InvalidSetting(f"lr={lr}", "a positive learning rate", "To learn nothing, use a known group.")
        if name and set(name) & set("/\\"):
            raise InvalidSetting(f"name={name!r}", "a name that can be a folder's", "Leave slashes out.")
        if every_n_steps < 1:
            raise InvalidSetting(f"every_n_steps={every_n_steps}", "at least 1", "Use 1 for every batch.")
        # Any, since torch types what a list holds as plain modules
        self.symmetries: Any = nn.ModuleList()
        self.objective = Objective(losses, balance, every_n_steps, turns)
        self.seed = seed
        self.name, self._given_name = name or "of_the_module", name
        self.step = 0
        self.journal = Journal()
        self._tap = Tap(self, module)
        self._clock = Clock(lr)
        self._reservoir = Reservoir()
        self._trainer: Any = None
        self._host: Any = None
        self._folder: Path | None = None
        self._owns: list[bool] = []
        self._penalties: list[Tensor] = []
        self._values: dict[str, Tensor] = {}
        self._task_loss, self._measured, self._gradients = TaskLoss(), Measured(), Gradients()
        self._terms: list[list[Tensor]] = []
        self._calls = 0
        self._met_trainer = False
        self._first_step: int | None = None
        self._network: str | None = None
        self._restored: list[dict[str, Tensor]] | None = None
        self._rng = Rng(seed)
        self._input_seen = self._output_seen = False
        if symmetries is not None:
            self.adopt(symmetries)

    def adopt(self, described: Any) -> None:
        """Take over the symmetries, which are known at once or from the module in ``setup``.

        Args:
            described: As the constructor takes them.
        """
        built = build_symmetries(described)
        if self._given_name and len(built) == 1 and not holds_object(described):
            built[0].name = self._given_name
        self.symmetries = nn.ModuleList(built)
        self.name = self._given_name or join_names(built)
        self._owns = [True] * len(built)
        self.objective.demand_strengths(len(built))

    def adopt_from(self, pl_module: Any, stage: str) -> None:
        """Take over the symmetries that the module states.

        Raises:
            InvalidSetting: It is to be trained and states none.
        """
        described = ask_module(pl_module)
        if described is not None:
            self.adopt(described)
        elif stage == "fit":
            kind = type(self).__name__
            raise InvalidSetting(
                got=f"{kind}() without symmetries, for a {type(pl_module).__name__} that states none",
                expected="symmetries from one of the two",
                remedy=f'Write {kind}("{self.example}"), or give the module a method symmetries(), see SymmetryMixin.',
            )

    @property
    def losses(self) -> Any:
        """The penalties."""
        return self.objective.losses

    @property
    def balance(self) -> Balancer:
        """Their strengths."""
        return self.objective.balance

    # ---------------------------------------------------------------- what the finals decide

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing that it could do, for want of symmetries."""
        return not len(self.symmetries)

    def moves_task(self) -> bool:
        """Whether the task's own forward is moved in this batch."""
        return False

    def choose_rows(self, x: Tensor, rng: Rng) -> Tensor | None:
        """Rows of the task's forward that are moved, as a mask; None for all."""
        return None

    def describe(self) -> dict[str, Tensor]:
        """Further numbers for the journal and the logs, by their names."""
        return {}

    # ---------------------------------------------------------------- Lightning's hooks

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Wrap the training step and check what can be checked before training time is spent."""
        self._met_trainer = True
        if self.is_idle:
            self.adopt_from(pl_module, stage)
        if self.is_idle:
            return
        refuse_same_key(self, trainer.callbacks)
        if stage != "fit":
            return
        refuse_unsupported(trainer, pl_module)
        self._trainer, self._host = trainer, pl_module
        refuse_balance(self, pl_module, trainer.callbacks)
        self._calls, self._reservoir = 0, Reservoir()
        self._task_loss, self._measured, self._gradients = TaskLoss(), Measured(), Gradients()
        self._find_owned(trainer.callbacks)
        # log_dir is a broadcast: every rank has to ask
        self._folder = Path(trainer.log_dir or trainer.default_root_dir) / "symmetry" / self.name
        self._tap.install(pl_module)
        if trainer.is_global_zero and not trainer.fast_dev_run:
            refuse_unwritable(self._folder)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Listen to the optimizers, which exist from here on."""
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        self._clock.start(trainer.optimizers, scaler)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Remember where training began, to know whether it saw a batch."""
        self._first_step = self.step
        self.balance.plan(count_batches(trainer))
        self._tap.stopwatch.start()

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Time the backward."""
        self._tap.stopwatch.begin_backward()

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Time the backward."""
        self._tap.stopwatch.end_backward()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """The host is about to step."""
        self._clock.note_attempt()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Step the own optimizer with the host's, count the batch, and log."""
        if self._clock.end_batch():
            for symmetry in self.symmetries:
                limit_widths(symmetry.sampler, symmetry.moves_pictures)
        self.teach(pl_module)
        self.step += 1
        if self._output_seen and self.journal.is_due(trainer, self.step):
            self.journal.write(trainer, pl_module, self.step, self.symmetries, {**self._values, **self.describe()})

    def teach(self, pl_module: Any) -> None:
        """Tell the balancer what happened in a batch, as means over ranks."""
        balance, terms = self.balance, len(self.symmetries) * len(self.losses)
        if balance.observes and (loss := self._task_loss.collect(pl_module.device)) is not None:
            # as on every rank, whether or not this one called its network
            balance.observe(loss, self.moves_task() and not balance.is_reference(self.step))
        if balance.differentiates and (sizes := self._gradients.collect(pl_module.device)) is not None:
            balance.compare(float(sizes[0]), sizes[1:], self.step)
        if balance.tracks and (values := self._measured.collect(terms, pl_module.device)) is not None:
            balance.track(values, self.step)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """A network that was named but never called is a mistake."""
        self._tap.demand_called()

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start a fresh collection of held-out inputs."""
        if not trainer.sanity_checking:
            self._reservoir.renew()

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep what the network is given in validation, for the verdict."""
        if self._tap.target is not None and not trainer.sanity_checking:
            self._reservoir.watch(self._tap.found or ".", self._tap.target)

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Stop keeping."""
        self._reservoir.unwatch()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Make the verdict, while the network is still on its device."""
        self._tap.stopwatch.stop()
        # a rank without batches takes part in what is summed over ranks
        if self._calls or is_distributed():
            self.conclude(trainer, pl_module)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """A training without a single batch is a mistake."""
        began, self._first_step = self._first_step == self.step, None
        refuse_empty(trainer, began)

    @abstractmethod
    def conclude(self, trainer: Any, pl_module: Any) -> None:
        """Report at the end of training; finals say what."""

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave no trace."""
        if stage == "fit":
            self._detach()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave no trace, and keep what was learnt."""
        self._detach()

    def _detach(self) -> None:
        self._tap.remove()
        self._clock.stop()
        self._reservoir.unwatch()
        self._reservoir = Reservoir()
        self._penalties, self._terms, self._trainer, self._host = [], [], None, None

    # ---------------------------------------------------------------- state

    @property
    def state_key(self) -> str:
        """Key in the checkpoint: the class and the name.

        The Trainer compares keys when it is made, and would end in words of its own where two are the same: until it is
        known, keys differ, and `refuse_same_key` says what to do.
        """
        key = f"{type(self).__qualname__}[{self.name}]"
        return key if self._met_trainer else f"{key}@{id(self)}"

    def state_dict(self) -> dict[str, Any]:
        """Everything that training changed, as tensors and plain values."""
        return {
            "step": self.step,
            "symmetries": self._restored
            or [dict(s.state_dict()) if owned else {} for s, owned in zip(self.symmetries, self._owns, strict=True)],
            "objective": dict(self.objective.state_dict()),
            "optimizer": self._clock.state_dict(),
            "learnt": self._clock.steps,
            "journal": self.journal.state_dict(),
            "values": {name: float(value) for name, value in self._values.items()},
            "network": self.network_name,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore; what needs dimensions that are not known yet waits for the first batch."""
        self.step = int(state_dict["step"])
        self.journal.load_state_dict(state_dict["journal"])
        self._values = {name: torch.tensor(value) for name, value in state_dict["values"].items()}
        try:
            self.objective.load_state_dict(state_dict["objective"])
        except RuntimeError as error:
            raise InvalidSetting(
                got=f"a checkpoint of {self.name!r} with other losses or another balance",
                expected="those that it was trained with",
                remedy="Resume with the arguments of that run, or give this callback a name= of its own.",
            ) from error
        self._restored = state_dict["symmetries"]
        self._network = state_dict.get("network")
        self._clock.load_state_dict(state_dict["optimizer"])
        self._clock.steps = int(state_dict["learnt"])
        if self._output_seen:
            self._restore("sampler.", "input.", "output.")
            self._restored = None

    @property
    def network_name(self) -> str | None:
        """Dotted name of the network, "." for the module itself; None before it is known."""
        return self._tap.found or self._tap.wanted or self._network

    def complete(self, site: Site, x: Any) -> None:
        """Complete the symmetries, and what was saved of them, from a call outside of training.

        Args:
            site: The call.
            x: Its input structure.
        """
        if self._output_seen:
            return
        # what is made in inference mode could never be trained again
        with torch.inference_mode(False), torch.no_grad():
            plain = replace_leaves(x, {path: leaf.clone() for path, leaf in find_leaves(x).items()})
            if not self._input_seen:
                self._meet_input(plain)
            args, kwargs = site.pack(plain)
            self._meet_output(plain, site.forward(*args, **kwargs))

    # ---------------------------------------------------------------- the tap's listener

    @property
    def needs_output(self) -> bool:
        """Whether f(x) must be one call of one network."""
        return self.objective.needs_output or any(s.moves_output for s in self.symmetries)

    def is_listening(self) -> bool:
        """Only in the trainer's own training.

        Not while the LR finder has taken the callbacks away, and not where a validation step calls the training step.
        """
        trainer = self._trainer
        return trainer is not None and trainer.training and any(callback is self for callback in trainer.callbacks)

    def on_step_begin(self) -> None:
        """Forget the last step's penalties."""
        self._penalties, self._terms = [], []
        self._measured.begin()
        self._clock.begin_step()

    def on_repeat(self) -> None:
        """A closure is evaluated again: the own gradients of its last evaluation do not count."""
        self._measured.begin()
        self._clock.begin_step()

    def on_step_output(self, output: Any) -> None:
        """Note what the balancer wants to know of the task's own loss."""
        if self.balance.observes:
            self._task_loss.note(output, self._host, type(self.balance).__name__)
        terms, self._terms = self._terms, []
        if terms and (loss := find_loss(output)) is not None and self._tap.target:
            # of several calls of one network the penalties are summed
            values = [torch.stack(calls).sum() for calls in zip(*terms, strict=True)]
            self._gradients.note([loss, *values], self._tap.target)

    def on_step_end(self, output: Any) -> Any:
        """Add the penalty to the returned loss (automatic optimization)."""
        penalties, self._penalties = self._penalties, []
        if not penalties or output is None:
            return output
        return add_to_loss(output, functools.reduce(torch.add, penalties))

    def on_call(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer the network's call: move it, penalise it, or let it pass."""
        chosen = self.objective.choose_terms(len(self.symmetries), self.step)
        moving, penalising = self.moves_task(), any(chosen)
        # draws depend on (seed, batch) alone, so that a repeated closure, a second call and a resumed run see the same
        self._rng = Rng(self.seed, self.step, self._trainer.global_rank, self._trainer.world_size)
        self._calls += 1
        x = site.unpack(args, kwargs)
        if not self._input_seen:
            self._meet_input(x)
        self._reservoir.keep(x)
        if not (moving or penalising):
            y = site.forward(*args, **kwargs)
            self._meet_output(x, y)
            return y
        active = self.objective.choose_active(chosen)
        leading = self.symmetries[0].leading(x)
        before = RandomState(leading.device)
        drawn = self._draw(x, chosen, max((loss.views for loss in active), default=1), moving, leading)
        rows = self.choose_rows(leading, self._rng) if moving else None
        # losses that look only at the group and its law leave the task its one forward
        alone, said = moving and not any(loss.needs_output for loss in active), {}
        if alone:
            elements = [g[:: weights.shape[1]] for g, weights in drawn if g is not None]
            y = forward_moved(site, x, self.symmetries, elements, rows)
            self._meet_output(x, y)
            y = move_back(y, self.symmetries, elements, rows, Rows.of(x))
            if not penalising:
                return y
        else:
            with recording(site.module, self.objective.features) as said:
                y = site.forward(*args, **kwargs)
            self._meet_output(x, y)
        f = make_second_pass(site, before)
        look = make_look(f, site, self.objective.features)
        calls = [
            Call(f, x, y, g, weights, symmetry, self._rng, self.step, site.module, look, said)
            for symmetry, (g, weights) in zip(self.symmetries, drawn, strict=True)
        ]
        outcome = self.objective(calls, chosen)
        self._values.update(outcome.values)
        if self.balance.tracks:
            self._measured.note(torch.stack(outcome.terms))
        if self.balance.differentiates:
            self._terms.append(outcome.terms)
        if moving and not alone:
            # several symmetries take turns, batch by batch
            y = blend_moved(calls[self.step % len(calls)], rows)
        if outcome.penalty is None:
            return y
        if not self._host.automatic_optimization:
            return ride_on_output(y, outcome.penalty, self._clock.scale, site.name)
        self._penalties.append(outcome.penalty)
        return y

    def _draw(
        self, x: Any, chosen: Sequence[bool], views: int, moving: bool, leading: Tensor
    ) -> list[tuple[Element | None, Tensor]]:
        """Draw elements of every symmetry that wants any in this batch."""
        if moving and self.balance.is_reference(self.step):
            return [stand_still(symmetry, x, max(views, 1), self._rng) for symmetry in self.symmetries]
        return [
            symmetry.sample(x, max(views, 1), self._rng)
            if moving or self.objective.wants_elements(chosen, i)
            else draw_nothing(leading)
            for i, symmetry in enumerate(self.symmetries)
        ]

    # ---------------------------------------------------------------- first sight of data

    def _meet_input(self, x: Any) -> None:
        """Complete the symmetries' input side, and what was saved of it, before anything is drawn."""
        for symmetry in self.symmetries:
            refuse_non_finite(symmetry.bind(x).leading(x))
        self._restore("sampler.", "input.")
        self._input_seen = True

    def _meet_output(self, x: Any, y: Any) -> None:
        """Complete the output side and take over the parameters, once."""
        if self._output_seen:
            return
        for symmetry in self.symmetries:
            if symmetry.bind(x, y).choices:
                self._host.print(f"{symmetry.name}: auto chose\n{symmetry.choices}")
        # the input's side is in the graph by now and must not be written to again
        self._restore("output.")
        self._restored = None
        owned = [s for s, owned in zip(self.symmetries, self._owns, strict=True) if owned]
        self._clock.adopt(
            [p for s in owned for p in s.parameters()] + list(self.objective.parameters()),
            # a constant reward is in balance from the start, a strength that is searched for has to calm down
            settling=[s.sampler.raw_width for s in owned if self.balance.observes and learns_widths(s.sampler)],
        )
        self._output_seen = True

    def _find_owned(self, callbacks: Sequence[Any]) -> None:
        """A symmetry shared by several callbacks is stepped and saved once, by the first that learns it."""
        taken: set[int] = set()
        for callback in callbacks:
            if callback is self:
                break
            if isinstance(callback, SymmetryCallback):
                taken.update(id(s) for s in callback.symmetries)
        self._owns = [id(s) not in taken for s in self.symmetries]

    def _restore(self, *prefixes: str) -> None:
        for symmetry, saved in zip(self.symmetries, self._restored or [], strict=False):
            try:
                symmetry.load_state_dict({k: v for k, v in saved.items() if k.startswith(prefixes)}, strict=False)
            except RuntimeError as error:
                raise InvalidSetting(
                    got=f"a checkpoint whose {symmetry.name!r} has other shapes than {symmetry.sentence!r}",
                    expected="the symmetry that was trained",
                    remedy="Resume with the sentence of that run, or give this symmetry a name= of its own.",
                ) from error

    # ---------------------------------------------------------------- output for people

    @property
    def report_folder(self) -> Path:
        """Where the report goes: beside the logs."""
        if self._folder is None:
            raise InvalidSetting(
                got=f"no folder for {self.name!r}", expected="a callback that was fitted", remedy="Call Trainer.fit."
            )
        return self._folder

    @property
    def cost(self) -> float | None:
        """About which share of the last training's time went into this callback; None before its end."""
        return self._tap.stopwatch.share
