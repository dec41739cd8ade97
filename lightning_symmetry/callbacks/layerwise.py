"""`LayerwiseLieDerivative`: which layer of the network breaks a symmetry, measured in validation and test."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from lightning_symmetry.callbacks.refusals import refuse_nameless, refuse_unwritable
from lightning_symmetry.callbacks.watching import WatchingCallback
from lightning_symmetry.discovery import label_generators
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.distributed import holds_everywhere, is_distributed
from lightning_symmetry.metrics import LayerDerivatives, layerwise_lie_derivative
from lightning_symmetry.paths import find_leaves, replace_leaves
from lightning_symmetry.report.layers import write_layers
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetry import Symmetry


@final
class LayerwiseLieDerivative(WatchingCallback):
    """Splits the Lie derivative of the network over its layers, on a few inputs of every n-th validation, and in tests.

    Logged is ``symmetry/<name>/share/<layer>``, the signed share of all generators together, which sums to 1 with
    ``share/(between layers)``; ``layers.csv`` and ``layers.png`` in ``<log dir>/symmetry/<name>/`` hold the shares and
    magnitudes of each generator. Nothing is trained and nothing is left behind. See `layerwise_lie_derivative`.

    Args:
        symmetries: One symmetry or a list: sentences, saved files, mappings or objects; None for those that the module
            states, see `SymmetryMixin`.
        module: Dotted name of the network, needed only where several are called in one step.
        layers: Regular expression, searched for in the dotted names of the network's modules; by default all without
            children, and attention.
        kinds: Names of classes, such as "Conv2d"; layers of other kinds are left out.
        features: Regular expression of layer names to the action of what these layers give, such as
            ``{"blocks": "tokens(1)"}``; images are known by their shape, tokens never.
        samples: Inputs that are looked at, on each process.
        probes: Backwards for the magnitudes.
        derivative: Of content on grids: "spectral", "central" or "bilinear"; None leaves it to the actions.
        every_n: Every n-th validation of a fit.
        seed: Of the probes.
        name: Name of the folder; by default the symmetries' names.

    Raises:
        InvalidSetting: A number is not positive.

    Cost: on these inputs K derivatives of each layer, and ``probes`` + K backwards.

    References:
        Gruver et al., The Lie derivative for measuring learned equivariance, arXiv 2210.02984.

    Example:
        >>> LayerwiseLieDerivative("translation on image -> label").name
        'translation_on_image_to_label'
    """

    def __init__(
        self,
        symmetries: Any = None,
        module: str | None = None,
        layers: str | None = None,
        kinds: Sequence[str] = (),
        features: Mapping[str, str] | None = None,
        samples: int = 32,
        probes: int = 16,
        derivative: str | None = None,
        every_n: int = 1,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        if min(samples, probes, every_n) < 1:
            raise InvalidSetting(
                f"samples={samples}, probes={probes}, every_n={every_n}", "positive numbers", "Try 32, 16 and 1."
            )
        super().__init__(symmetries, module, name)
        self.layers, self.kinds, self.features = layers, tuple(kinds), dict(features or {})
        self.samples, self.probes, self.derivative = samples, probes, derivative
        self.every_n, self.seed = every_n, seed
        self.found: dict[str, LayerDerivatives] = {}
        self._rounds = 0
        self._due = False

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Check what can be checked before time is spent."""
        super().setup(trainer, pl_module, stage)
        self._rounds = 0
        if stage == "predict":
            return
        refuse_nameless(self, pl_module)
        if trainer.is_global_zero and not trainer.fast_dev_run:
            refuse_unwritable(self.report_folder)

    def begin(self, trainer: Any, pl_module: Any) -> None:
        """Forget the last round where this one counts."""
        self._due = self.stage != "fit" or self._rounds % self.every_n == 0
        self._rounds += 1
        if self._due:
            self.found = {}

    def take(self, pl_module: Any, f: Callable[[Any], Any], x: Any) -> bool:
        """Split on an input, cut to what is still wanted."""
        if not self._due or self.site is None:
            return False
        for symmetry in self.symmetries:
            seen = self.found.get(symmetry.name)
            left = self.samples - (seen.samples if seen else 0)
            if left <= 0:
                continue
            symmetry.bind(x)
            found = layerwise_lie_derivative(
                self.site.module, _cut(x, symmetry, left), symmetry, self.layers, self.kinds, self.features,
                self.probes, self.derivative, f, None if symmetry.group.learnable else label_generators(symmetry.group),
                seed=self.seed + (seen.samples if seen else 0),
            )  # fmt: skip
            self.found[symmetry.name] = seen + found if seen else found
        return any(found.samples < self.samples for found in self.found.values())

    def end(self, trainer: Any, pl_module: Any) -> None:
        """Add over processes, log, and write."""
        # where a process saw nothing, there is nothing that all could add
        if not self._due or not holds_everywhere(len(self.found) == len(self.symmetries), pl_module.device):
            return
        for symmetry in self.symmetries:
            found = self.found[symmetry.name] = self.found[symmetry.name].over_ranks()
            if not getattr(trainer, "barebones", False):
                for layer, share in zip(found.layers, found.overall_share, strict=True):
                    pl_module.log(
                        f"symmetry/{symmetry.name}/share/{layer}",
                        share.float(),
                        batch_size=1,
                        sync_dist=is_distributed(),
                    )
            if trainer.is_global_zero and not trainer.fast_dev_run:
                folder = self.report_folder if len(self.symmetries) == 1 else self.report_folder / _word(symmetry.name)
                write_layers(found, folder, symmetry.sentence)


def _cut(x: Any, symmetry: Symmetry, count: int) -> Any:
    """Take the first samples of an ordinary batch; graphs stay together."""
    if Rows.of(x).are_ragged:
        return x
    samples = len(symmetry.leading(x))
    leaves = {path: leaf[:count] for path, leaf in find_leaves(x).items() if leaf.ndim and len(leaf) == samples}
    return replace_leaves(x, leaves)


def _word(name: str) -> str:
    return re.sub(r"\W+", "_", name)
