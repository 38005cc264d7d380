"""Command-line options that say what is done with an irregular CT series."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medseg.io.ct.policy import GeometryPolicy

__all__ = ["add_policy_options", "policy_from"]


def add_policy_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--on-tilt``, ``--on-gap``, ``--on-variable``, ``--on-duplicate`` and ``--max-gap`` to a parser."""
    group = parser.add_argument_group("irregular series (each is refused unless a rule is named; the rule is recorded)")
    group.add_argument(
        "--on-tilt",
        choices=("refuse", "shear"),
        default="refuse",
        help="gantry tilt: refuse, or shear the slices onto an upright grid (linear within each slice, air around it)",
    )
    group.add_argument(
        "--on-gap",
        choices=("refuse", "resample", "split"),
        default="refuse",
        help="missing slices: refuse, resample (blend the neighbours linearly), or split into even stretches",
    )
    group.add_argument(
        "--on-variable",
        choices=("refuse", "resample", "split"),
        help="spacing that changes: outcomes as for --on-gap (default: as --on-gap)",
    )
    group.add_argument(
        "--on-duplicate",
        choices=("refuse", "keep-lowest"),
        default="refuse",
        help="copies: several slices with equal pixels at one position: refuse, or keep the lowest InstanceNumber",
    )
    group.add_argument(
        "--max-gap",
        type=float,
        default=1.0,
        metavar="N",
        help="most slices that resample may invent between two neighbours (default %(default)g)",
    )


def policy_from(args: argparse.Namespace) -> GeometryPolicy:
    """The policy that the options of `add_policy_options` ask for.

    Raises:
        UsageError: if ``--max-gap`` is no positive number.
    """
    from data_prep._options.command_line import UsageError
    from medseg.io.bounded.errors import DataError
    from medseg.io.ct.policy import GeometryPolicy

    try:
        return GeometryPolicy(args.on_tilt, args.on_gap, args.on_duplicate, args.on_variable, args.max_gap)
    except DataError as error:
        raise UsageError(f"--max-gap: {error}") from None
