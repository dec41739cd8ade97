"""Small networks of escnn's layers that have a symmetry built in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Self

from lightning_symmetry.actions import Action, Image, Points, StillAction, Vector
from lightning_symmetry.actions.escnn import demand_escnn
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.steering import Steering, to_escnn
from lightning_symmetry.symmetry import Symmetry


class SteerableNet(nn.Module, ABC):
    """What networks of escnn's layers share: one tensor in, one out, and a state that does not depend on the mode.

    The layers stay in training mode, where they expand their kernels at every call: in evaluation mode they would keep
    them as buffers, and checkpoints would not fit the other mode.

    Args:
        symmetry: Of any description that `Symmetry.of` takes.
        inputs: Number of fields of the input.
        outputs: Number of fields of the output.
        frequency: Highest frequency of the features, for continuous groups.
        cosine: See `to_escnn`.

    Raises:
        InvalidSetting: escnn is missing or lacks the group, or there are several inputs or outputs.
    """

    def __init__(
        self, symmetry: Symmetry | str | Path, inputs: int, outputs: int, frequency: int, cosine: float = 0.99
    ) -> None:
        super().__init__()
        self.escnn: Any = demand_escnn(type(self).__name__)
        stated = Symmetry.of(symmetry)
        parts = [side.parts for side in (stated.input, stated.output)]
        if [len(part) for part in parts] != [1, 1]:
            raise InvalidSetting(
                f"{stated.sentence!r} for a {type(self).__name__}",
                "one input and one output",
                "Build a network of your own from the types that to_escnn gives.",
            )
        (_, self.input), (_, self.output) = parts[0][0], parts[1][0]
        self._check(self.input, self.output)
        self.steering: Steering = to_escnn(stated, inputs, outputs, frequency, cosine)
        self.frequency = frequency

    @abstractmethod
    def _check(self, input: Action, output: Action) -> None:
        """Refuse data that the network is not made for."""

    def _activate(self, fields: int) -> Any:
        """Make a nonlinearity: of every element's value for finite groups, of samples of it for continuous ones."""
        space, layers = self.steering.space, self.escnn.nn
        group, order = space.fibergroup, self.frequency
        if not group.continuous:
            return layers.ELU(layers.FieldType(space, [group.regular_representation] * fields))
        if self.steering.name.endswith("(2)"):
            # a multiple of four, so that quarter turns permute the samples
            grid = {"type": "regular", "N": 4 * max(order, 1)}
        else:
            grid = {"type": "ico"} if order <= 2 else {"type": "thomson_cube", "N": 8}
        return layers.FourierELU(space, fields, group.bl_irreps(order), inplace=False, **grid)

    def train(self, mode: bool = True) -> Self:
        """Note the mode, and leave the layers as they are."""
        self.training = mode
        return self

    def _settle(self, layers: Sequence[Any]) -> Any:
        """Chain layers, without the kernels that they keep for evaluation."""
        return self.escnn.nn.SequentialModule(*layers).train()


@final
class SteerableCNN(SteerableNet):
    """A convolutional network whose answer to a moved image is the moved answer: labels, scalars or vectors of images.

    Steerable convolutions, each after the first followed by a halving of the image; then convolutions to invariants,
    their mean over the image and a linear layer, or the mean of fields that turn. Exact for turns that permute pixels;
    for others up to what the interpolation of pixels leaves.

    Args:
        symmetry: Of images, for example "SO(2) on image -> label", or the folder of what was discovered.
        outputs: Classes of a label, numbers of a scalar, vectors.
        channels: Of the image.
        widths: Fields of every layer; each has as many channels as a finite group has elements, or 2 frequency + 1 for
            SO(2).
        kernel: Side of the kernels in pixels, odd.
        frequency: Highest frequency of the features, for continuous groups.
        invariants: Number of invariants.
        cosine: Least cosine of a discovered group to the one that it is taken for.

    Raises:
        InvalidSetting: escnn is missing or lacks the group, or the symmetry moves something else.

    Cost: about that of a plain network with as many channels; kernels are expanded at every call.

    References:
        Weiler, Cesa, General E(2)-equivariant steerable CNNs, NeurIPS 2019.
    """

    def __init__(
        self,
        symmetry: Symmetry | str | Path,
        outputs: int = 10,
        channels: int = 1,
        widths: Sequence[int] = (4, 6, 6),
        kernel: int = 5,
        frequency: int = 4,
        invariants: int = 64,
        cosine: float = 0.99,
    ) -> None:
        if not widths or kernel % 2 == 0:
            raise InvalidSetting(f"widths={widths}, kernel={kernel}", "a layer, and an odd kernel", "Use (4, 6, 6), 5.")
        super().__init__(symmetry, channels, outputs, frequency, cosine)
        layers, space = self.escnn.nn, self.steering.space
        self.halvings = len(widths) - 1
        chain, (kind,) = [], self.steering.input
        for place, width in enumerate(widths):
            activation = self._activate(width)
            chain += [layers.R2Conv(kind, activation.in_type, kernel, padding=kernel // 2), activation]
            kind = activation.out_type
            if place < self.halvings:
                chain.append(layers.PointwiseAvgPool2D(kind, 2, 2))
        still = isinstance(self.output, StillAction)
        last = layers.FieldType(space, [space.trivial_repr] * invariants) if still else self.steering.output[0]
        chain.append(layers.R2Conv(kind, last, kernel, padding=kernel // 2))
        self.body = self._settle(chain)
        self.head = nn.Linear(invariants, outputs) if still else None

    def _check(self, input: Action, output: Action) -> None:
        if not isinstance(input, Image) or not isinstance(output, (StillAction, Vector)):
            raise InvalidSetting(
                f"{input.sentence} -> {output.sentence} for a SteerableCNN",
                "image -> label, scalar or vector",
                "For dense outputs, build a network from the types that to_escnn gives.",
            )

    def forward(self, x: Tensor) -> Tensor:
        """Predict: (B, C, H, W) -> (B, outputs), or (B, 2 outputs) for vectors."""
        sides = 2**self.halvings
        if x.ndim != 4 or x.shape[-2] % sides or x.shape[-1] % sides:
            raise ActionMismatch(
                f"images of shape {tuple(x.shape)}", f"(B, C, H, W) with sides divisible by {sides}", "Pad them."
            )
        found = self.body(self.escnn.nn.GeometricTensor(x, self.steering.input[0])).tensor
        return found.mean((2, 3)) if self.head is None else self.head(F.elu(found).mean((2, 3)))


@final
class SteerableMLP(SteerableNet):
    """A perceptron on vectors, or on sets of points, whose answer to moved data is the moved answer.

    Points pass one perceptron each, their mean another: their order does not matter. Where the group translates, their
    mean is subtracted first, else its centre; an answer that is a position gets it back.

    Args:
        symmetry: For example "SO(3) on vector(3) -> vector(3)", or the folder of what was discovered.
        inputs: Vectors of a row; 1 for points.
        outputs: Numbers or vectors of the answer.
        width: Fields of every hidden layer; each has as many numbers as a finite group has elements, 2 frequency + 1
            for SO(2), and 1 + 9 + ... + (2 frequency + 1)^2 for SO(3).
        depth: Hidden layers, of each of the two perceptrons for points.
        frequency: Highest frequency of the features, for continuous groups.
        cosine: Least cosine of a discovered group to the one that it is taken for.

    Raises:
        InvalidSetting: escnn is missing or lacks the group, or the symmetry moves something else.

    Note:
        Finite groups are exact; continuous ones sample the nonlinearity, which leaves a few percent of an untrained
        network's error, less with a higher frequency.
    """

    def __init__(
        self,
        symmetry: Symmetry | str | Path,
        inputs: int = 1,
        outputs: int = 1,
        width: int = 8,
        depth: int = 2,
        frequency: int = 2,
        cosine: float = 0.99,
    ) -> None:
        super().__init__(symmetry, inputs, outputs, frequency, cosine)
        (first,), (last,) = self.steering.input, self.steering.output
        if isinstance(self.input, Points):
            hidden = self._activate(width).out_type
            self.each: Any = self._settle(self._chain(first, width, depth))
            self.body = self._settle(self._chain(hidden, width, depth, last))
        else:
            self.each = None
            self.body = self._settle(self._chain(first, width, depth, last))
        centre = self.steering.compact.centre
        self.centre: Tensor | None
        self.register_buffer("centre", None if centre is None else centre.float(), persistent=False)

    def _chain(self, kind: Any, width: int, depth: int, last: Any = None) -> list[Any]:
        layers: list[Any] = []
        for _ in range(depth):
            activation = self._activate(width)
            layers += [self.escnn.nn.Linear(kind, activation.in_type), activation]
            kind = activation.out_type
        return layers if last is None else [*layers, self.escnn.nn.Linear(kind, last)]

    def _check(self, input: Action, output: Action) -> None:
        if not isinstance(input, (Points, Vector)):
            raise InvalidSetting(
                f"{input.sentence} -> {output.sentence} for a SteerableMLP",
                "an input of vectors or points",
                "Use SteerableCNN for images.",
            )

    def forward(self, x: Tensor) -> Tensor:
        """Predict: (B, inputs d) or points (B, N, d) -> (B, outputs) or vectors (B, outputs d)."""
        middle = self._find_middle(x)
        x = x if middle is None else x - middle
        if self.each is not None:
            rows = self.escnn.nn.GeometricTensor(x.flatten(0, 1), self.steering.input[0])
            each = self.each(rows)
            mean = each.tensor.unflatten(0, x.shape[:2]).mean(1)
            found = self.body(self.escnn.nn.GeometricTensor(mean, each.type)).tensor
        else:
            found = self.body(self.escnn.nn.GeometricTensor(x, self.steering.input[0])).tensor
        if middle is None or not isinstance(self.output, Points):
            return found
        return (found.unflatten(1, (-1, x.shape[-1])) + middle.reshape(-1, 1, x.shape[-1])).flatten(1)

    def _find_middle(self, x: Tensor) -> Tensor | None:
        """Find the place from which positions are counted: (B, 1, d) or (d,)."""
        if not isinstance(self.input, Points):
            return None
        if x.ndim != 3:
            raise ActionMismatch(f"points of shape {tuple(x.shape)}", "(B, N, d)", "Add the axis of the points.")
        return x.mean(1, keepdim=True) if self.steering.compact.translations else self.centre
