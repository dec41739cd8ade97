"""A network whose answers are moved along with its inputs, for training loops of one's own."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.func import functional_call
from typing_extensions import Self

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.distributed import is_distributed
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.residuals import relative_residual, relative_to_variance
from lightning_symmetry.paths import find_leaves, get_leaf
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetrization import average, conjugate
from lightning_symmetry.symmetry import Symmetry


@final
class Symmetrized(nn.Module):
    """A network conjugated by one random element a sample in training, and averaged over the group in evaluation.

    In training ``rho_out(g^-1) f(rho_in(g) x)``, compared with the target as it stands: augmentation, whose gradients
    also reach what the symmetry learns (generators, widths), which are parameters of this module. In evaluation
    `average`, exact for finite groups and frames, and the same at every call.

    Paths of the symmetry's input begin with the names that ``module.forward`` gives its arguments (``"x=vector"``,
    ``"batch.pos=points"``); they may be left out where only one tensor fits.

    Args:
        module: Any network, kept as ``.module``; ``.module.state_dict()`` loads without this package.
        symmetry: How the group acts on its input and its output.
        n: Elements a sample in evaluation; None takes all of a finite group or a frame.
        seed: Of the draws, which do not depend on torch's global generator.

    Raises:
        InvalidSetting: ``n`` is not positive.
    """

    draws: Tensor
    """Training steps so far; saved, so that a resumed run draws on where it stopped."""

    def __init__(self, module: nn.Module, symmetry: Symmetry, n: int | None = 4, seed: int = 0) -> None:
        super().__init__()
        if n is not None and n < 1:
            raise InvalidSetting(f"n={n}", "at least 1, or None for all elements", "Give the number of elements.")
        self.module, self.symmetry = module, symmetry
        self.n, self.seed = n, int(seed)
        self.register_buffer("draws", torch.zeros((), dtype=torch.long))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Answer as the module would.

        Cost: one forward of the module in training, n in evaluation.

        Raises:
            InvalidSetting: Training began before the parameters of the symmetry were made.
        """
        x = self._name(args, kwargs)
        self._require(x)
        if not self.training:
            return average(self._answer, self.symmetry, self.n, Rng(self.seed))(x)
        g, _ = self.symmetry.sample(x, 1, self._advance())
        return conjugate(self._answer, g, self.symmetry)(x)

    def bind(self, *args: Any, **kwargs: Any) -> Self:
        """Complete what the data decide, parameters of the symmetry among it; calling it again changes nothing.

        Needed before an optimizer is made, where the symmetry learns a group or a representation of open dimension.

        Args:
            *args: As the module takes them, a batch of any size.
            **kwargs: As the module takes them.

        Returns:
            Itself.

        Cost: one forward of the module, the first time.
        """
        self._complete(self._name(args, kwargs))
        return self

    def _complete(self, x: dict[str, Any]) -> list[str]:
        """Bind the symmetry, and name the parameters that this made."""
        if self.symmetry.is_complete:
            return []
        known = {id(parameter) for parameter in self.symmetry.parameters()}
        with torch.no_grad():
            self.symmetry.bind(x, self._silent()(x))
        return [name for name, parameter in self.symmetry.named_parameters() if id(parameter) not in known]

    def _require(self, x: dict[str, Any]) -> None:
        """Refuse to train what no optimizer knows of."""
        late = self._complete(x)
        if late and self.training:
            raise InvalidSetting(
                f"the new parameters {', '.join(late)} in a training step",
                "a symmetry that has seen data before the optimizer is made",
                "Call bind with one batch first: symmetrize(module, symmetry).bind(x).",
            )

    def penalty(self, *args: Any, **kwargs: Any) -> Tensor:
        """Measure how far the module itself is from having the symmetry, to be added to a loss.

        ``E_g mean (f(rho_in(g) x) - rho_out(g) f(x))^2``, in units of the variance of the outputs over the samples, so
        that it has no units and cannot be lowered by shrinking them. Running statistics of batch-norm are left alone;
        dropout draws a mask for each of the two forwards, which counts as a difference.

        Args:
            *args: As the module takes them.
            **kwargs: As the module takes them.

        Returns:
            A scalar, differentiable.

        Cost: two forwards of the module.
        """
        self._require(self._name(args, kwargs))
        x, f = self._name(args, kwargs), self._silent()
        rows, y = Rows.of(x), f(x)
        g, _ = self.symmetry.sample(x, 1, self._advance())
        actual, expected = f(self.symmetry.move_input(g, x)), self.symmetry.move_output(g, y, rows)
        terms = []
        for path, leaf in find_leaves(y).items():
            if leaf.is_floating_point() and leaf.ndim:
                pool = partial(rows.pool, path=path)
                error = relative_residual(get_leaf(actual, path), get_leaf(expected, path), 1.0)
                terms.append(relative_to_variance(pool(error), leaf, pool).mean())
        return torch.stack(terms).sum()

    def extra_repr(self) -> str:
        """Show the sentence."""
        return f"{self.symmetry.sentence}, n={self.n}"

    def _advance(self) -> Rng:
        rank, world = (dist.get_rank(), dist.get_world_size()) if is_distributed() else (0, 1)
        rng = Rng(self.seed, int(self.draws), rank, world)
        self.draws += 1
        return rng

    def _name(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return dict(self._signature.bind(*args, **kwargs).arguments)

    def _answer(self, x: dict[str, Any]) -> Any:
        inputs = inspect.BoundArguments(self._signature, OrderedDict(x))
        return self.module(*inputs.args, **inputs.kwargs)

    def _silent(self) -> Callable[[dict[str, Any]], Any]:
        """The module on buffers of its own."""
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}

        def answer(x: dict[str, Any]) -> Any:
            inputs = inspect.BoundArguments(self._signature, OrderedDict(x))
            return functional_call(self.module, buffers, inputs.args, inputs.kwargs)

        return answer

    @property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self.module.forward)


def symmetrize(module: nn.Module, symmetry: Any, n: int | None = 4, seed: int = 0) -> Symmetrized:
    """Wrap a network so that it trains on moved data and answers with the average over a group.

    Args:
        module: Any network.
        symmetry: A `Symmetry`, a sentence, a saved file, or a mapping of arguments.
        n: Elements a sample in evaluation; None takes all of a finite group or a frame.
        seed: Of the draws.

    Returns:
        The wrapper; the network itself is its ``module``.

    Example:
        >>> net = symmetrize(nn.Linear(2, 1), "C4 on vector -> scalar", n=None).eval()
        >>> bool(torch.allclose(net(torch.tensor([[1.0, 2.0]])), net(torch.tensor([[-2.0, 1.0]]))))
        True
    """
    return Symmetrized(module, Symmetry.of(symmetry), n, seed)
