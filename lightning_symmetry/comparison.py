"""What the parts of a recipe measured, side by side: means over their runs, beside what others published."""

from __future__ import annotations

import difflib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from lightning_symmetry.exceptions import InvalidFile

if TYPE_CHECKING:
    from lightning_symmetry.callbacks.expect import Expect

Runs = Mapping[str, Sequence[Mapping[str, float]]]
"""Part to what each of its runs measured."""


@final
@dataclass(frozen=True)
class Comparison:
    """A table with a row for each part and a column for each metric, and claims about its cells.

    Args:
        metrics: Metric to the heading of its column.
        published: Further rows: who, and what was published of some metrics, as text or numbers.
        expect: Claims: ``metric``, ``at_least`` and ``at_most`` as of `Expect`; a metric is ``<part>/<metric>``, the
            mean over the runs of that part, and a bound a number or another such metric.

    Example:
        >>> table = Comparison({"test/mse": "error"}, {"others": {"test/mse": 0.4}})
        >>> table.lay_out({"plain": [{"test/mse": 0.5}, {"test/mse": 0.3}]})
        (['', 'error'], [['plain', '0.4 +- 0.14'], ['published: others', '0.4']])
    """

    metrics: Mapping[str, str]
    published: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    expect: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def read(cls, document: Any, parts: Sequence[str], source: str) -> Comparison:
        """Read what a recipe says under ``compare``.

        Args:
            document: ``metrics``, and if wanted ``published`` and ``expect``.
            parts: Names of the recipe's parts.
            source: Name of its file.

        Raises:
            InvalidFile: It is something else, or names a part that does not exist.
        """
        try:
            found = cls(**document)
            named = [name for claim in found.expect for name in claim.values() if isinstance(name, str)]
            proper = all(isinstance(table, Mapping) for table in (found.metrics, *found.published.values()))
            proper &= all("metric" in c and {"at_least", "at_most"} & set(c) for c in found.expect)
        except (TypeError, AttributeError):
            proper, named = False, []
        if not proper:
            raise InvalidFile(
                got=f"{document!r:.80} under compare in {source}",
                expected="metrics, metric to heading, and if wanted published and expect",
                remedy="For example metrics: {test/mse: error}, expect: [{metric: a/test/mse, at_most: b/test/mse}].",
            )
        unknown = [name for name in named if name.partition("/")[0] not in parts]
        if unknown:
            raise InvalidFile(
                got=f"a claim about {unknown[0]!r} in {source}",
                expected="<part>/<metric>",
                remedy=f"The parts are {', '.join(parts)}.",
            )
        return found

    def lay_out(self, runs: Runs) -> tuple[list[str], list[list[str]]]:
        """Lay out the table: its header and its rows, a mean and, of several runs, their standard deviation."""
        rows = []
        for part, measured in runs.items():
            cells = [[run[metric] for run in measured if metric in run] for metric in self.metrics]
            rows.append([part, *map(_write, cells)])
        for who, numbers in self.published.items():
            rows.append([f"published: {who}", *(str(numbers.get(metric, "-")) for metric in self.metrics)])
        return ["", *self.metrics.values()], rows

    def judge(self, runs: Runs) -> list[Expect]:
        """Make the claims, with what was measured.

        Raises:
            InvalidFile: A bound was never measured.
        """
        from lightning_symmetry.callbacks.expect import Expect

        means: dict[str, float] = {}
        for part, measured in runs.items():
            for metric in sorted({name for run in measured for name in run}):
                means[f"{part}/{metric}"] = statistics.fmean(run[metric] for run in measured if metric in run)
        claims = []
        for given in self.expect:
            bounds = {key: given[key] for key in ("at_least", "at_most") if key in given}
            absent = [bound for bound in bounds.values() if isinstance(bound, str) and bound not in means]
            if absent:
                near = difflib.get_close_matches(absent[0], means, n=3, cutoff=0)
                raise InvalidFile(
                    got=f"the bound {absent[0]!r}, which was never measured",
                    expected="<part>/<metric>",
                    remedy=f"Did you mean one of: {', '.join(near)}?",
                )
            limits = {key: means[bound] if isinstance(bound, str) else bound for key, bound in bounds.items()}
            claim = Expect(given["metric"], **limits).defer()
            claim.tell(means)
            claims.append(claim)
        return claims


def _write(values: Sequence[float]) -> str:
    if not values:
        return "-"
    mean = f"{statistics.fmean(values):.4g}"
    return mean if len(values) == 1 else f"{mean} +- {statistics.stdev(values):.2g}"
