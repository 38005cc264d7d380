"""Training and evaluation by several processes (torchrun): the group, shares of the data, joint scores, one writer.

Every name is imported when it is first used: importing this package does not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medseg._lazy import lazy_exports

if TYPE_CHECKING:
    from medseg.training.distributed.case_metrics import CaseMetricsSaver
    from medseg.training.distributed.errors import EveryProcessError
    from medseg.training.distributed.evaluation import run_evaluation
    from medseg.training.distributed.group import finish_group, process_device, start_group
    from medseg.training.distributed.network import in_parallel
    from medseg.training.distributed.ranks import any_rank, gathered, is_writer, processes, rank
    from medseg.training.distributed.shares import interleaved, share_of
    from medseg.training.distributed.stand_ins import StandIns
    from medseg.training.distributed.writers import for_this_process

__all__ = [
    "CaseMetricsSaver",
    "EveryProcessError",
    "StandIns",
    "any_rank",
    "finish_group",
    "for_this_process",
    "gathered",
    "in_parallel",
    "interleaved",
    "is_writer",
    "process_device",
    "processes",
    "rank",
    "run_evaluation",
    "share_of",
    "start_group",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "case_metrics": ("CaseMetricsSaver",),
        "errors": ("EveryProcessError",),
        "evaluation": ("run_evaluation",),
        "group": ("finish_group", "process_device", "start_group"),
        "network": ("in_parallel",),
        "ranks": ("any_rank", "gathered", "is_writer", "processes", "rank"),
        "shares": ("interleaved", "share_of"),
        "stand_ins": ("StandIns",),
        "writers": ("for_this_process",),
    },
)
