"""Balancers by their names."""

from __future__ import annotations

import pytest

from lightning_symmetry.balancing import Balancer, Dual, Fixed, GradNorm, Ratio, Uncertainty, by_name
from lightning_symmetry.exceptions import SentenceError, UnknownName


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ratio", Ratio),
        ("Dual", Dual),
        ("uncertainty", Uncertainty),
        ("grad_norm", GradNorm),
        ("fixed", Fixed),
        ("lightning_symmetry.balancing.Ratio", Ratio),
    ],
)
def test_names_make_balancers(name: str, kind: type[Balancer]) -> None:
    assert type(by_name(name)) is kind


def test_names_take_arguments() -> None:
    assert by_name("fixed(0.5)").strengths(2, 0) == [0.5, 0.5]
    assert by_name("dual(epsilon='auto')").tolerated is None
    assert by_name("ratio", power=3.0).power == 3.0


def test_unknown_names_are_refused_with_what_exists() -> None:
    with pytest.raises(UnknownName, match=r"balancer 'rati'.*constraint, dual, fixed.*Did you mean ratio"):
        by_name("rati")
    with pytest.raises(SentenceError, match="expected arguments that it takes"):
        by_name("ratio(7, 7, 7, 7, 7, 7, 7, 7, 7)")
