"""`GeneratorExtraction`: read the symmetry out of whatever network is trained, validated or tested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
import torch.distributed as dist

from lightning_symmetry.callbacks.printing import printing
from lightning_symmetry.callbacks.refusals import refuse_same_folder, refuse_unwritable
from lightning_symmetry.callbacks.reservoir import Reservoir
from lightning_symmetry.callbacks.site import Site
from lightning_symmetry.callbacks.tap import Tap
from lightning_symmetry.callbacks.watch import copy_input, evaluating
from lightning_symmetry.callbacks.watching import WatchingCallback
from lightning_symmetry.differentiation import BACKENDS
from lightning_symmetry.discovery import Discovery, GeneratorGram, read_generators
from lightning_symmetry.discovery.candidates import suggest_symmetry, widen_group
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.distributed import is_distributed, sum_over_ranks
from lightning_symmetry.paths import find_leaves, replace_leaves
from lightning_symmetry.report import print_discovery, write_report

# Of the last round, for the end of a training that went on after it or ended before anybody knew.
KEPT_SAMPLES = 2048


@final
class GeneratorExtraction(WatchingCallback):
    """Reads the generators of its symmetry out of a trained network, whatever the network is.

    The candidates are the generators of the symmetry's group. Every input that the network is given in a round of
    validation or testing adds to a Gram matrix of constant size (`GeneratorGram`), whose smallest directions are the
    generators that the network respects (`read_generators`). The verdict is printed with its evidence, written to
    ``<log dir>/symmetry/<name>/``, and published as ``symmetry/<name>/n_generators``, ``.../defect_0`` and so on.

    Nothing is learnt: a training with the callback is bit for bit that without it, and its checkpoints hold nothing of
    it. In a fit the last validation is read, or without validation data the inputs of the last batches; in
    ``Trainer.validate`` and ``Trainer.test`` the whole round. Training that goes on after the last validation, or ends
    unforeseen, is read on at most `KEPT_SAMPLES` inputs that were kept of that validation.

    Args:
        symmetries: A sentence such as "affine on image -> label", a saved symmetry, or a list of those; a sentence
            without a group looks among all affine (for vectors, all linear) transformations. None for what the module
            states, see `SymmetryMixin`, and else for what the kind of the data suggests, which is printed.
        module: Dotted name of the network, needed only where several are called in one step.
        when: "end" reads the last validation of a fit, "validation" others too.
        every_n: With "validation", every n-th, counted from the start of the fit.
        delta: A direction is a generator when its defect lies below, at 95 % confidence; 1 is that of a random one.
        backend: How the network is differentiated: "jvp", "vjp", "difference" or "auto".
        name: Name of files, and of the metrics where there is one symmetry; two callbacks need different ones.

    Raises:
        SymmetryError: One of its kinds, where an argument makes no sense.

    Cost: on a round that is read about 2 K forwards of it for K candidates; none on other rounds and in training.

    References:
        LieGG, arXiv 2210.04345.

    Example:
        >>> GeneratorExtraction("image -> label").name
        'affine_on_image_to_label'
    """

    def __init__(
        self,
        symmetries: Any = None,
        module: str | None = None,
        when: str = "end",
        every_n: int = 1,
        delta: float = 0.1,
        backend: str = "auto",
        name: str | None = None,
    ) -> None:
        if when not in ("end", "validation"):
            raise InvalidSetting(f"when={when!r}", "'end' or 'validation'", "Use 'end' for one reading, of the last.")
        if every_n < 1 or (every_n > 1 and when == "end"):
            raise InvalidSetting(
                got=f"every_n={every_n} with when={when!r}",
                expected="at least 1, and more only where several validations are read",
                remedy="Set when='validation' to read every n-th validation.",
            )
        if isinstance(delta, bool) or not isinstance(delta, (int, float)) or not 0 < delta < 1:
            raise InvalidSetting(f"delta={delta!r}", "a number in (0, 1)", "1 is what a random direction has; try 0.1.")
        if backend not in BACKENDS:
            raise InvalidSetting(f"backend={backend!r}", f"one of {', '.join(BACKENDS)}", "Use 'auto'.")
        super().__init__(symmetries, module, name)
        self.when, self.every_n, self.delta = when, every_n, delta
        self.backend = backend
        self.discoveries: list[Discovery] = []
        self._tap = Tap(self, module)
        self._trainer: Any = None
        self._host: Any = None
        self._forget()

    def adopt(self, described: Any) -> None:
        """Take over the symmetries, with fixed generators in place of those that would be learnt."""
        super().adopt(described)
        self.symmetries = [widen_group(symmetry) for symmetry in self.symmetries]

    def _forget(self) -> None:
        self._grams: list[GeneratorGram] = []
        self._reservoir = Reservoir(KEPT_SAMPLES)
        self._rounds = 0
        self._is_due = self._is_current = self._is_rehearsed = False

    # ---------------------------------------------------------------- Lightning's hooks

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Wrap the training step until the network is known, and check what can be checked."""
        super().setup(trainer, pl_module, stage)
        if stage == "predict":
            return
        self._forget()
        refuse_same_folder(self, trainer.callbacks)
        if trainer.is_global_zero and not trainer.fast_dev_run:
            refuse_unwritable(self.report_folder if self.symmetries else self.report_folder.parent)
        if stage == "fit":
            self._trainer, self._host = trainer, pl_module
            self._tap.install(pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """What was read before is of another network."""
        self._is_current = False

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Read the end of a training that no validation follows, while it can be logged."""
        # a network that was named but never called is a mistake
        self._tap.demand_called()
        if is_ending(trainer) and not self._is_current:
            self._read_kept(trainer, pl_module, is_loggable=True)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Read an end that nobody could foresee."""
        if not self._is_current:
            self._read_kept(trainer, pl_module, is_loggable=False)

    def detach(self) -> None:
        """Put everything back."""
        super().detach()
        self._tap.remove()
        self._forget()
        self._trainer = self._host = None

    # ---------------------------------------------------------------- a round

    def find_network(self, pl_module: Any) -> str | None:
        """In a fit, what training has found."""
        return self._tap.found or self.module

    def demand_network(self) -> None:
        """In a fit, what training is given is enough."""
        if self.stage != "fit":
            super().demand_network()

    def begin(self, trainer: Any, pl_module: Any) -> None:
        """Begin with nothing."""
        self._grams = []
        self._reservoir.renew()
        wanted = self.when == "validation" and self._rounds % self.every_n == 0
        self._is_due = self.stage != "fit" or wanted or is_ending(trainer)
        self._rounds += 1

    def take(self, pl_module: Any, f: Callable[[Any], Any], x: Any) -> bool:
        """Add one input; of a round that is not read, keep enough for an end that nobody could foresee."""
        self._reservoir.hold(x)
        if self._is_due:
            self._add(pl_module, f, x)
        return self._is_due or not self._reservoir.is_full

    def end(self, trainer: Any, pl_module: Any) -> None:
        """Read the round."""
        if self._is_due:
            is_last = self.stage != "fit" or is_ending(trainer)
            self._read(trainer, pl_module, "test" if self.stage == "test" else "validation", is_last)

    def _add(self, pl_module: Any, f: Callable[[Any], Any], x: Any) -> None:
        if not self.symmetries:
            self.adopt(suggest_symmetry(x, f(x)))
            pl_module.print(
                f"{type(self).__name__} looks for {self.symmetries[0].sentence!r}, chosen by the kind of the data; "
                "give a sentence to look for something else"
            )
        self._grams = self._grams or self._make_grams(pl_module)
        for symmetry, gram in zip(self.symmetries, self._grams, strict=True):
            is_new = not symmetry.is_bound
            gram.update(f, x)
            if is_new and symmetry.choices:
                pl_module.print(f"{symmetry.name}: auto chose\n{symmetry.choices}")

    def _make_grams(self, pl_module: Any) -> list[GeneratorGram]:
        return [GeneratorGram(symmetry, self.backend).to(pl_module.device) for symmetry in self.symmetries]

    # ---------------------------------------------------------------- reading

    def _read_kept(self, trainer: Any, pl_module: Any, is_loggable: bool) -> None:
        """Read the network as it is now on the inputs that were kept."""
        if self.site is None and self._tap.target is not None:
            self.site = Site(self._tap.found or ".", self._tap.target, self._tap.target.forward)
        self._grams = []
        if self.site is not None:
            with evaluating(self.site) as f:
                for x in self._reservoir.kept:
                    self._add(pl_module, f, x)
        self._read(trainer, pl_module, self._reservoir.held_out, True, is_loggable)

    def _read(self, trainer: Any, pl_module: Any, held_out: str, is_last: bool, is_loggable: bool = True) -> None:
        x = self._share(pl_module)
        if x is None or self.site is None:
            return
        tell = getattr(getattr(trainer, "datamodule", None), "truth", None)
        truth = None if tell is None else tell()
        with evaluating(self.site) as f:
            self.discoveries = [read_generators(gram, f, x, self.delta, truth, held_out) for gram in self._grams]
        self._grams, self._is_current = [], True
        for found in self.discoveries:
            self._publish(trainer, pl_module, found, x, is_last, is_loggable)

    def _share(self, pl_module: Any) -> Any:
        """Give inputs for finite checks, and let a rank that was given no batch take part, on another's."""
        x = self._reservoir.collect() if self._grams else None
        lacking = torch.tensor(float(x is None), device=pl_module.device)
        if not sum_over_ranks(lacking) or not is_distributed():
            return x
        every: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(every, None if self.site is None or x is None else (self.site.name, x))
        lent = next((pair for pair in every if pair is not None), None)
        if x is not None or lent is None:
            return x
        name, x = lent
        network = pl_module if name == "." else pl_module.get_submodule(name)
        self.site = Site(name, network, network.forward)
        device = pl_module.device
        x = replace_leaves(x, {path: leaf.to(device) for path, leaf in find_leaves(x).items()})
        with evaluating(self.site) as f:
            self._add(pl_module, f, x)
        # the symmetries know their shapes now; what was lent counts where it came from
        self._grams = self._make_grams(pl_module)
        return x

    def _publish(
        self, trainer: Any, pl_module: Any, found: Discovery, x: Any, is_last: bool, is_loggable: bool
    ) -> None:
        values = {f"symmetry/{found.name}/{key}": torch.tensor(float(v)) for key, v in found.metrics().items()}
        # barebones trainers warn on every call of log
        if is_loggable and not getattr(trainer, "barebones", False):
            pl_module.log_dict(values, batch_size=1, sync_dist=is_distributed())
        trainer.callback_metrics.update(values)
        if not trainer.is_global_zero:
            return
        folder = self.report_folder if len(self.discoveries) == 1 else self.report_folder / found.name
        if not trainer.fast_dev_run:
            write_report(found, folder, x)
        with printing(pl_module):
            if is_last:
                print_discovery(found, None if trainer.fast_dev_run else folder)
            else:
                print(f"{found.name}: {found.conclusion}")

    # ---------------------------------------------------------------- the tap's listener

    @property
    def needs_output(self) -> bool:
        """F(x) must be one call of one network."""
        return True

    def is_listening(self) -> bool:
        """In training, until validation shows the network's inputs."""
        trainer = self._trainer
        if trainer is None or not trainer.training or all(callback is not self for callback in trainer.callbacks):
            return False
        return self._tap.found is None or self._reservoir.held_out == "training"

    def on_step_begin(self) -> None:
        """Nothing is counted."""

    def on_repeat(self) -> None:
        """A closure shows the same tensors again."""

    def on_step_output(self, output: Any) -> None:
        """Nothing is read from it."""

    def on_step_end(self, output: Any) -> Any:
        """Pass on what the step gave."""
        return output

    def on_call(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Keep the input and let the network answer; the first is read for practice: what fails is told at once."""
        x = copy_input(site, args, kwargs)
        self._reservoir.keep(x)
        y = site.forward(*args, **kwargs)
        if not self._is_rehearsed:
            with evaluating(site) as f:
                self._add(self._host, f, x)
            self._grams, self._is_rehearsed = [], True
        return y


def is_ending(trainer: Any) -> bool:
    """Tell whether the trainer's limits leave no further step in this fit; others may end it before.

    Args:
        trainer: In a validation, or at the end of an epoch.
    """
    steps, epochs = trainer.max_steps, trainer.max_epochs
    by_steps = steps is not None and 0 <= steps <= trainer.global_step
    return by_steps or bool(trainer.is_last_batch and epochs and 0 < epochs <= trainer.current_epoch + 1)
