"""Evidence without a predictor: can a network that is trained afresh tell data from moved data?"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.spans import quarter_turn_norm
from lightning_symmetry.groups import Element
from lightning_symmetry.methods.liegan.discriminator import Discriminator, lay_flat
from lightning_symmetry.methods.liegan.objective import tell
from lightning_symmetry.paths import find_leaves, replace_leaves
from lightning_symmetry.samplers import Integers
from lightning_symmetry.symmetry import Symmetry

# Generators that are compared with random directions are compared with the mean of so many.
_CONTROLS = 3
_BATCH = 256


def area_under_curve(real: Tensor, fake: Tensor) -> float:
    """Tell how well scores separate data from fakes: the probability that data score higher, ties counting half.

    Args:
        real: (B,) scores of data.
        fake: (M,) scores of fakes.

    Returns:
        0.5 where they cannot be told apart, 1 where they always can.

    Example:
        >>> area_under_curve(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]))
        0.875
    """
    scores = torch.cat([real, fake]).detach().double()
    _, place, counts = scores.unique(return_inverse=True, return_counts=True)
    # mean rank of every group of equal scores
    ranks = (counts.cumsum(0) - (counts - 1) / 2.0)[place]
    size = len(real)
    return float((ranks[:size].sum() - size * (size + 1) / 2) / (size * len(fake)))


class Samples:
    """Pairs for training a network afresh, and others to try it on.

    Args:
        train: Pair (x, y).
        held_out: Another one.
        discriminator: Its architecture is used.
        steps: Batches of training.
        seed: Of everything drawn.

    Cost: ``steps`` batches of 256 pairs for every `tell_apart`.
    """

    def __init__(self, train: Any, held_out: Any, discriminator: Discriminator, steps: int, seed: int) -> None:
        self.train, self.held_out, self.steps, self.seed = train, held_out, steps, seed
        self._template = discriminator

    def tell_apart(self, symmetry: Symmetry, generators: Tensor | None = None, only: int | None = None) -> float:
        """Train a network to tell pairs from moved pairs, and try it on held-out ones.

        Args:
            symmetry: How pairs move.
            generators: (K, ...) coefficients, in place of the symmetry's own.
            only: Move along this generator alone, a radian in every plane that it turns, in root mean square (the law's
                own elements where they are powers of one); by default, move by the law as it stands.

        Returns:
            The area under the curve.
        """
        numbers, labels = lay_flat(self.train)
        device = numbers.device
        # the network is judged, never the one that was trained in the game
        net = Discriminator(
            self._template.hidden,
            self._template.embedding,
            self._template.frequencies,
            self._template.bandwidth,
        ).build(numbers.shape[1], labels.shape[1], self.seed)
        net = net.to(device).calibrate(self.train)
        optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
        with torch.inference_mode(False), torch.enable_grad():
            for step in range(self.steps):
                rng = Rng(self.seed, step)
                chosen = rng.integers(len(numbers), _BATCH, device=device)
                pair = take_rows(self.train, chosen)
                fake = move_pair(symmetry, pair, self.draw(symmetry, pair, rng, generators, only))
                loss = tell(net.judge(pair), net.judge(fake))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            elements = self.draw(symmetry, self.held_out, Rng(self.seed, -1), generators, only)
            moved = move_pair(symmetry, self.held_out, elements)
            return area_under_curve(net.judge(self.held_out), net.judge(moved))

    def tell_random_apart(self, symmetry: Symmetry) -> float | None:
        """Try random directions of the space that the group learns in: the control that generators have to beat.

        Returns:
            Their mean area under the curve; None where there is no other direction.
        """
        mask = symmetry.group.pattern()
        if int(mask.count_nonzero()) < 2:
            return None
        directions = Rng(self.seed, -2).normal(_CONTROLS, *mask.shape).to(mask) * mask
        values = [self.tell_apart(symmetry, directions, only=k) for k in range(_CONTROLS)]
        return sum(values) / len(values)

    def draw(
        self,
        symmetry: Symmetry,
        pair: Any,
        rng: Rng | None = None,
        generators: Tensor | None = None,
        only: int | None = None,
    ) -> Element:
        """Draw the elements that `tell_apart` moves a pair by.

        Args:
            symmetry: How pairs move.
            pair: (x, y), of B rows.
            rng: Source of randomness.
            generators: In place of the symmetry's own.
            only: Move along this generator alone.

        Returns:
            B elements.
        """
        rng = rng or Rng(self.seed, -1)
        with torch.no_grad():
            if only is None:
                return symmetry.sample(pair[0], 1, rng)[0]
            leading = symmetry.leading(pair[0])
            group = symmetry.group if generators is None else symmetry.group.fix(generators)
            t = torch.zeros(len(leading), group.count, device=leading.device)
            t[:, only] = self._coefficients(symmetry, len(leading), rng, generators is None, only).to(t)
            if not isinstance(symmetry.sampler, Integers):
                norm = float(group.norms()[only])
                # one radian in every plane has this norm
                t = t * quarter_turn_norm(group.dim or 2) / (math.pi / 2) / max(norm, 1e-12)
            elif generators is not None:
                t = t * float(symmetry.group.norms().mean()) / float(group.norms()[only])
            return group.exp(t)

    def _coefficients(self, symmetry: Symmetry, rows: int, rng: Rng, own: bool, only: int) -> Tensor:
        if not isinstance(symmetry.sampler, Integers):
            return rng.normal(rows)
        widths = symmetry.sampler.widths.detach()
        width = float(widths[only] if own else widths.mean())
        # its smallest powers, without the identity, which nobody can tell from the data
        return (1.0 - 2.0 * rng.integers(2, rows)) * (1.0 + rng.integers(2, rows)) * width


def move_pair(symmetry: Symmetry, pair: Any, g: Element) -> Any:
    """Move both halves of a pair (x, y) by the same elements; the pair itself is left as it is."""
    return symmetry.move_input(g, pair[0]), symmetry.move_output(g, pair[1])


def take_rows(tree: Any, rows: Any) -> Any:
    """Choose rows of every tensor of a structure."""
    return replace_leaves(tree, {path: leaf[rows] for path, leaf in find_leaves(tree).items() if leaf.ndim})


def join_rows(trees: list[Any], most: int) -> Any:
    """Lay the rows of several structures one after the other, at most so many."""
    leaves = [find_leaves(copy.copy(tree)) for tree in trees]
    paths = [path for path, leaf in leaves[0].items() if leaf.ndim]
    return replace_leaves(trees[0], {path: torch.cat([tree[path] for tree in leaves])[:most] for path in paths})
