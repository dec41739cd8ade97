from __future__ import annotations

import pytest

from lightning_symmetry.exceptions import InvalidSetting, SentenceError
from lightning_symmetry.functional.tensor_types import (
    count_numbers,
    read_types,
    solve_dimension,
    uniform_types,
    write_types,
)


@pytest.mark.parametrize("text", ["5x0 + 5x1 + 2x2", "1x1p", "47x0 + 15x1 + 4x2 + 19x0"])
def test_types_read_back(text: str) -> None:
    assert write_types(read_types(text)) == text


@pytest.mark.parametrize("text", ["", "x1", "0x1", "5x", "5x0 +", "5x-1", "5 1", "3x1q"])
def test_what_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(SentenceError, match="copies x rank"):
        read_types(text)


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_even_shares_take_up_exactly_the_width(rank: int, dim: int) -> None:
    for width in (1, 5, 20, 64, 95, 128):
        types = read_types(uniform_types(width, rank, dim))
        assert count_numbers(types, dim) == width
        assert max(t.rank for t in types) <= rank


def test_every_rank_has_an_even_share_where_the_width_allows_it() -> None:
    assert uniform_types(27, 2, 3) == "9x0 + 3x1 + 1x2"
    assert uniform_types(128, 3, 3) == "38x0 + 12x1 + 3x2 + 1x3"
    with pytest.raises(InvalidSetting, match="width=0"):
        uniform_types(0, 2, 3)


def test_the_dimension_follows_from_the_width() -> None:
    types = read_types("2x0 + 3x1 + 1x2")
    for dim in range(1, 8):
        assert solve_dimension(types, count_numbers(types, dim)) == dim
    assert solve_dimension(types, 7) is None
    assert solve_dimension(read_types("5x0"), 5) is None
