"""The scores of all cases as files, written once and in the order of the list."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine
from monai.handlers import MetricsSaver, write_metrics_reports

from medseg.training.distributed.ranks import gathered, is_writer, processes
from medseg.training.distributed.shares import interleaved

__all__ = ["CaseMetricsSaver"]


class CaseMetricsSaver(MetricsSaver):
    """MONAI's ``MetricsSaver`` for cases that are shared among processes, of which some may have none.

    The first process writes the files. The rows have the order of the whole list, as with a single process. The details
    of a metric have to be in that order too, as those of `medseg.training.MeanDiceNonempty` are.

    Args:
        **options: those of ``monai.handlers.MetricsSaver``.

    >>> saver = CaseMetricsSaver(save_dir="eval", metrics="*")
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def __call__(self, engine: Engine) -> None:
        """Write the files at the end of an evaluation."""
        if processes() == 1:
            super().__call__(engine)
            return
        names = interleaved(gathered(self._filenames))
        if is_writer():
            write_metrics_reports(
                save_dir=str(self.save_dir),
                images=names or None,
                metrics=_chosen(engine.state.metrics, self.metrics),
                metric_details=_chosen(getattr(engine.state, "metric_details", {}), self.metric_details),
                summary_ops=self.summary_ops,
                deli=self.deli,
                output_type=self.output_type,
            )


def _chosen(found: dict[str, Any], names: tuple[str, ...] | None) -> dict[str, Any]:
    return {name: value for name, value in found.items() if names and (name in names or "*" in names)}
