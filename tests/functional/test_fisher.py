from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.functional.fisher import doubt, fisher_columns, score_cotangent


@pytest.fixture
def y() -> Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def slopes() -> Tensor:
    return torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def information(y: Tensor, slopes: Tensor) -> Tensor:
    """By its definition: the mean, over classes drawn, of the products of score derivatives."""
    p = y.softmax(1)
    total = torch.zeros(len(y), slopes.shape[1], slopes.shape[1], dtype=y.dtype)
    for c in range(y.shape[1]):
        score = slopes[..., c] - torch.einsum("nc,nkc->nk", p, slopes)
        total += p[:, c, None, None] * score[:, :, None] * score[:, None]
    return total


def test_squares_are_the_fisher_information(y: Tensor, slopes: Tensor) -> None:
    columns = fisher_columns(y, slopes)
    torch.testing.assert_close(torch.einsum("nkc,nlc->nkl", columns, columns), information(y, slopes))


def test_shifts_of_all_logits_do_not_count(y: Tensor, slopes: Tensor) -> None:
    shifted = fisher_columns(y + 3, slopes + torch.randn(6, 3, 1, dtype=torch.float64))
    torch.testing.assert_close(shifted, fisher_columns(y, slopes))


def test_probabilities_mean_what_their_logits_mean(y: Tensor, slopes: Tensor) -> None:
    p, moved = torch.func.jvp(lambda t: t.softmax(1), (y,), (slopes[:, 0],))
    torch.testing.assert_close(fisher_columns(p, moved.unsqueeze(1)), fisher_columns(y, slopes[:, :1]))
    log_p, moved = torch.func.jvp(lambda t: t.log_softmax(1), (y,), (slopes[:, 0],))
    torch.testing.assert_close(fisher_columns(log_p, moved.unsqueeze(1)), fisher_columns(y, slopes[:, :1]))


def test_one_logit_is_two_classes() -> None:
    y, slopes = torch.randn(5, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    p = y.sigmoid()
    expected = (p * (1 - p))[:, None, None] * slopes[:, :, None] * slopes[:, None]
    for columns in (fisher_columns(y, slopes), fisher_columns(y[:, None], slopes[..., None])):
        torch.testing.assert_close(torch.einsum("nkc,nlc->nkl", columns, columns), expected)


def test_drawn_scores_average_to_the_fisher_information(y: Tensor, slopes: Tensor) -> None:
    many = 20000
    uniform = torch.rand(many, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    score = score_cotangent(y[:1].expand(many, 4), uniform)
    along = torch.einsum("nc,kc->nk", score, slopes[0])
    # the standard error of 20000 draws is below 1 % of the largest entry
    torch.testing.assert_close(along.mT @ along / many, information(y, slopes)[0], atol=0.05, rtol=0.05)


def test_certain_predictions_have_no_doubt() -> None:
    assert float(doubt(torch.tensor([[100.0, 0.0]]))) < 1e-12
    assert float(doubt(torch.zeros(1, 4))) == pytest.approx(0.75)
