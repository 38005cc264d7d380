"""What is done with an irregular CT series, as the options of a command say it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medseg.io.ct.policy import GeometryPolicy

__all__ = ["policy_from"]


def policy_from(args: argparse.Namespace) -> GeometryPolicy:
    """The policy that the options of `medseg.io.ct.policy_options.add_policy_options` ask for.

    Raises:
        UsageError: if ``--max-gap`` or ``--part`` is not a positive number.
    """
    from data_prep._options.command_line import UsageError
    from medseg.io.bounded.errors import DataError
    from medseg.io.ct.policy_options import policy_of

    try:
        return policy_of(args)
    except DataError as error:
        raise UsageError(str(error)) from None
