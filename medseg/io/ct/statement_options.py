"""Command-line options by which a user states what a header leaves open, the same in every command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from medseg.io.bounded.errors import DataError

if TYPE_CHECKING:
    from medseg.io.ct.rescale import Rescale
    from medseg.io.volumes.assumptions import ImageAssumptions

__all__ = ["add_assumption_options", "add_rescale_option", "assumptions_of", "rescale_of"]


def add_assumption_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--assume-space``, ``--ignore-pixdim-sign`` and ``--spacing-from`` to a command that reads image files."""
    group = parser.add_argument_group("image headers that leave the geometry open (refused unless you state it)")
    group.add_argument(
        "--assume-space",
        choices=("LPS", "RAS"),
        help="frame of a NRRD file without space, and of a NIfTI file whose sform and qform codes are both 0; where "
        "there are no directions either, the axes run along the frame's, from 0 mm on. Headers that say it are not "
        "overruled; what was assumed is recorded",
    )
    group.add_argument(
        "--ignore-pixdim-sign",
        action="store_true",
        help="NIfTI: negative spacings (pixdim) mean nothing; the sform, or their absolute values, are used and that "
        "is recorded",
    )
    group.add_argument(
        "--spacing-from",
        choices=("sform", "pixdim"),
        help="NIfTI: which is right where both state a spacing and they differ (default: sform, with a warning)",
    )


def assumptions_of(args: argparse.Namespace) -> ImageAssumptions:
    """What the options of `add_assumption_options` state."""
    from medseg.io.volumes.assumptions import ImageAssumptions

    return ImageAssumptions(args.assume_space, args.ignore_pixdim_sign, args.spacing_from)


def add_rescale_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--assume-rescale`` to the parser of a command that reads CT series."""
    parser.add_argument(
        "--assume-rescale",
        nargs=2,
        type=float,
        metavar=("SLOPE", "INTERCEPT"),
        help="what makes Hounsfield units of the slices whose header lacks RescaleSlope or RescaleIntercept, if you "
        "know it, such as 1 -1024; values that are there are not replaced; recorded",
    )


def rescale_of(args: argparse.Namespace) -> Rescale | None:
    """What ``--assume-rescale`` states, or None.

    Raises:
        DataError: for a slope of 0, or numbers that are not finite.
    """
    if args.assume_rescale is None:
        return None
    from math import isfinite

    from medseg.io.ct.rescale import Rescale

    slope, intercept = args.assume_rescale
    if not (isfinite(slope) and isfinite(intercept) and slope != 0):
        raise DataError(f"--assume-rescale is {slope:g} {intercept:g}, expected finite numbers and a slope but 0")
    return Rescale(slope, intercept)
