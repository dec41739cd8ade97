"""Comparing class predictions by the Fisher metric, which does not see what leaves probabilities alone."""

from __future__ import annotations

import torch
from torch import Tensor

# Rows that sum to one and have no negative entry are taken for probabilities.
_SUM = 1e-3


def read_logits(y: Tensor) -> Tensor:
    """Turn class scores into logits of all classes.

    Args:
        y: (N, C, ...) logits, log-probabilities or probabilities; (N,) or (N, 1) logits of one class.

    Returns:
        (N, C, ...) float64, C at least 2; probabilities become their logarithms.

    Example:
        >>> read_logits(torch.tensor([[0.5, 0.5]])).softmax(1)
        tensor([[0.5000, 0.5000]], dtype=torch.float64)
    """
    y = y.double()
    if y.ndim == 1 or y.shape[1] == 1:
        one = y if y.ndim > 1 else y.unsqueeze(1)
        return torch.cat([torch.zeros_like(one), one], 1)
    if are_probabilities(y):
        return y.clamp_min(1e-30).log()
    return y


def are_probabilities(y: Tensor) -> bool:
    """Whether class scores (N, C, ...) are probabilities already."""
    if y.ndim < 2 or y.shape[1] < 2 or not len(y):
        return False
    return bool((y >= 0).all()) and bool(((y.sum(1) - 1).abs() < _SUM).all())


def fisher_columns(y: Tensor, slopes: Tensor) -> Tensor:
    """Weigh derivatives of class scores so that their squares are the Fisher metric.

    ``c_kc = sqrt(p_c) d_k log p_c``, hence ``sum_c c_kc c_lc = E_c[ d_k log p_c  d_l log p_c ]``: shifts of all logits
    vanish, and so do changes that no probability notices.

    Args:
        y: Class scores, as for `read_logits`.
        slopes: (N, K, ...) derivatives of ``y``.

    Returns:
        (N, K, C, ...) float64.

    Reference:
        Amari, Natural gradient works efficiently in learning, 1998.

    Example:
        >>> bool(fisher_columns(torch.zeros(1, 3), torch.ones(1, 1, 3)).abs().max() < 1e-12)
        True
    """
    p = read_logits(y).softmax(1).unsqueeze(1)
    slopes = slopes.double()
    if y.ndim == 1:
        slopes = slopes.unsqueeze(2)
    if slopes.shape[2] == 1:
        slopes = torch.cat([torch.zeros_like(slopes), slopes], 2)
    elif are_probabilities(y):
        slopes = slopes / y.double().clamp_min(1e-30).unsqueeze(1)
    return p.sqrt() * (slopes - (p * slopes).sum(2, keepdim=True))


def score_cotangent(y: Tensor, uniform: Tensor) -> Tensor:
    """Draw a class from the prediction and give the gradient of its log-probability with respect to the scores.

    The square of what it pulls back is, on average over draws, the Fisher metric.

    Args:
        y: Class scores (N, C), (N, 1) or (N,), as for `read_logits`.
        uniform: (N,) in [0, 1).

    Returns:
        A cotangent of the shape of ``y``.
    """
    p = read_logits(y).softmax(1)
    chosen = (uniform[:, None] > p.cumsum(1)).sum(1).clamp_max(p.shape[1] - 1)
    score = torch.nn.functional.one_hot(chosen, p.shape[1]).to(p) - p
    if y.ndim == 1:
        return score[:, 1].to(y)
    if y.shape[1] == 1:
        return score[:, 1:].to(y)
    if are_probabilities(y):
        return (torch.nn.functional.one_hot(chosen, p.shape[1]) / y.double().clamp_min(1e-30)).to(y)
    return score.to(y)


def doubt(y: Tensor) -> Tensor:
    """Tell how far predictions are from certain: 1 - max p, (N,), averaged over pixels.

    Args:
        y: Class scores, as for `read_logits`.
    """
    missing = 1 - read_logits(y).softmax(1).amax(1)
    return missing.flatten(1).mean(1) if missing.ndim > 1 else missing
