"""Command-line options that say what is done with an irregular CT series, the same in every command that reads one."""

from __future__ import annotations

import argparse

from medseg.io.bounded.errors import DataError
from medseg.io.ct.policy import GeometryPolicy

__all__ = ["add_policy_options", "policy_of", "policy_words"]

_OPTIONS = {
    "on_tilt": "--on-tilt",
    "on_gap": "--on-gap",
    "on_variable": "--on-variable",
    "on_duplicate": "--on-duplicate",
    "max_gap": "--max-gap",
    "part": "--part",
}


def add_policy_options(parser: argparse.ArgumentParser, *, part: bool = True) -> None:
    """Add ``--on-tilt``, ``--on-gap``, ``--on-variable``, ``--on-duplicate``, ``--max-gap`` and ``--part`` to a parser.

    Args:
        parser: of a command that reads CT series.
        part: whether the command can take one stretch of a series that is split.
    """
    group = parser.add_argument_group("irregular series (each is refused unless a rule is named; the rule is recorded)")
    group.add_argument(
        "--on-tilt",
        choices=("refuse", "shear"),
        help="gantry tilt: refuse, or shear the slices onto an upright grid (linear within each slice, air around it)",
    )
    group.add_argument(
        "--on-gap",
        choices=("refuse", "resample", "split"),
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
        help="copies: several slices with equal pixels at one position: refuse, or keep the lowest InstanceNumber",
    )
    group.add_argument(
        "--max-gap",
        type=float,
        metavar="N",
        help="most slices that resample may invent between two neighbours (default 1)",
    )
    if part:
        group.add_argument(
            "--part", type=int, metavar="N", help="of a series that is split, only the Nth even stretch, from 1"
        )


def policy_of(args: argparse.Namespace) -> GeometryPolicy:
    """The policy that the options of `add_policy_options` ask for.

    Raises:
        DataError: if ``--max-gap`` or ``--part`` is not a positive number.
    """
    part = getattr(args, "part", None)
    if part is not None and part < 1:
        raise DataError(f"--part is {part}, expected the number of an even stretch, from 1")
    max_gap = 1.0 if args.max_gap is None else args.max_gap
    refuse = "refuse"
    try:
        return GeometryPolicy(
            args.on_tilt or refuse,
            args.on_gap or refuse,
            args.on_duplicate or refuse,
            args.on_variable,
            max_gap,
            part or 0,
        )
    except DataError as error:
        raise DataError(f"--max-gap: {error}") from None


def policy_words(args: argparse.Namespace) -> list[str]:
    """The options of `add_policy_options` that were given, as words of a command line."""
    given = {option: getattr(args, name, None) for name, option in _OPTIONS.items()}
    return [word for option, value in given.items() if value is not None for word in (option, f"{value}")]
