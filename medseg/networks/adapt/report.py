"""The report of `adapt`: the layers that it replaced, whether their weights were kept, and the layers left alone."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["AdaptReport", "AdaptRow"]


class AdaptRow(NamedTuple):
    """One layer that matched.

    Attributes:
        name: its dotted name in the network; several names if the network uses the module several times.
        before: the layer before.
        after: the layer now; the same as ``before`` if it was not changed.
        kept: whether the weights were kept: ``"yes"``, ``"no"`` or ``"-"`` (it has no weights, or was not changed).
        note: the reason; for a replaced layer also whether the new function is initially the same.

    Example:
        >>> row = AdaptRow("pool", "MaxPool2d(2)", "SparseDownsample(patch 8)", "-", "not the same")
        >>> row.changed
        True
    """

    name: str
    before: str
    after: str
    kept: str
    note: str

    @property
    def changed(self) -> bool:
        """Whether the layer was replaced."""
        return self.before != self.after


class AdaptReport(NamedTuple):
    """What `adapt` did (or, in a dry run, would do); ``print`` shows it as a table.

    Attributes:
        rows: one for every layer that matched, replaced or not.
        warnings: warnings about the network as a whole.
        dry_run: True if nothing was changed.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.MaxPool2d(2))
        >>> _, report = adapt(net, spatial_dims=2, conv="quadtree", dry_run=True)
        >>> [row.name for row in report.changed], len(report.skipped)
        (['0'], 0)
    """

    rows: tuple[AdaptRow, ...]
    warnings: tuple[str, ...] = ()
    dry_run: bool = False

    @property
    def changed(self) -> tuple[AdaptRow, ...]:
        """The rows of replaced layers."""
        return tuple(row for row in self.rows if row.changed)

    @property
    def skipped(self) -> tuple[AdaptRow, ...]:
        """The rows of layers that matched but were not changed."""
        return tuple(row for row in self.rows if not row.changed)

    def __str__(self) -> str:
        head = ("layer", "before", "after", "weights kept", "note")
        lines = [
            head,
            *((r.name, r.before, r.after if r.changed else "left alone", r.kept, r.note) for r in self.rows),
        ]
        widths = [max(len(line[i]) for line in lines) for i in range(4)]
        table = ["  ".join([*(t.ljust(w) for t, w in zip(line, widths, strict=False)), line[4]]) for line in lines]
        verb = "would be swapped" if self.dry_run else "swapped"
        total = f"{len(self.changed)} {verb}, {len(self.skipped)} left alone"
        return "\n".join([*table, total, *(f"note: {text}" for text in self.warnings)])
