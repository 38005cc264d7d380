"""What a user states where a header leaves it open, from the options of a command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from data_prep._options.command_line import UsageError
from medseg.io.bounded.errors import DataError
from medseg.io.ct.statement_options import rescale_of

if TYPE_CHECKING:
    from medseg.io.ct.rescale import Rescale

__all__ = ["rescale_from"]


def rescale_from(args: argparse.Namespace) -> Rescale | None:
    """What ``--assume-rescale`` states, or None.

    Raises:
        UsageError: for a slope of 0, or numbers that are not finite.
    """
    try:
        return rescale_of(args)
    except DataError as error:
        raise UsageError(str(error)) from None
