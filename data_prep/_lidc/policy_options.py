"""Command line options for the choices behind LIDC-IDRI nodules, shared by the commands that make them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from data_prep._options.command_line import UsageError

if TYPE_CHECKING:
    from medseg.datasets.lidc.malignancy import MalignancyPolicy
    from medseg.datasets.lidc.policy import NodulePolicy

__all__ = ["add_cluster_option", "add_malignancy_options", "add_nodule_options", "malignancy_policy", "nodule_policy"]


def add_cluster_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--cluster``."""
    parser.add_argument(
        "--cluster",
        choices=("kdtree", "pylidc"),
        default="kdtree",
        help="which annotations show one nodule: outlines within one pixel spacing (default), or as pylidc groups",
    )


def add_nodule_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cluster``, ``--consensus`` and ``--border``."""
    add_cluster_option(parser)
    parser.add_argument(
        "--consensus",
        default="half",
        metavar="RULE",
        help="half (of the readers who marked the nodule, default), half-of-four, union, at-least-2, at-least-3, "
        "at-least-4 or staple",
    )
    parser.add_argument(
        "--border",
        choices=("exclude", "include"),
        default="exclude",
        help="the outline's own pixels: excluded (the data set's definition, default) or included",
    )


def add_malignancy_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--malignancy``, ``--min-readers``, ``--margin`` and ``--ambiguous``."""
    parser.add_argument(
        "--malignancy", choices=("median", "mean"), default="median", help="how malignancy scores are joined"
    )
    parser.add_argument(
        "--min-readers", type=int, default=3, metavar="N", help="nodules with fewer scores get no label (default 3)"
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=0.0,
        metavar="M",
        help="benign up to 3 - M, malignant from 3 + M on; 0 (default): below 3 and above 3",
    )
    parser.add_argument(
        "--ambiguous",
        choices=("drop", "benign", "malignant"),
        default="drop",
        help="what a score between the bounds becomes (default drop: no label)",
    )


def nodule_policy(args: argparse.Namespace) -> NodulePolicy:
    """The choices of ``add_nodule_options``, or of ``add_cluster_option`` with the defaults for the others."""
    from medseg.datasets.lidc.consensus_rules import ConsensusRule
    from medseg.datasets.lidc.policy import NodulePolicy

    try:
        rule = ConsensusRule.parse(getattr(args, "consensus", "half"))
        return NodulePolicy(args.cluster, rule, getattr(args, "border", "exclude"))
    except ValueError as error:
        raise UsageError(f"--{error}") from error


def malignancy_policy(args: argparse.Namespace) -> MalignancyPolicy:
    """The choices of ``add_malignancy_options``."""
    from medseg.datasets.lidc.malignancy import MalignancyPolicy

    try:
        return MalignancyPolicy(args.malignancy, args.min_readers, args.margin, args.ambiguous)
    except ValueError as error:
        raise UsageError(f"malignancy policy: {error}") from error
