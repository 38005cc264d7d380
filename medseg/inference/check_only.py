"""A configuration that is only checked must not run."""

from __future__ import annotations

from medseg.io.bounded.errors import DataError

__all__ = ["refuse_check_only"]


def refuse_check_only(check_only: bool) -> None:
    """Refuse to run a configuration whose key ``check_only`` is true.

    With ``check_only`` a bundle is built without data and weights, so that its properties can be checked. Running it
    would end at once, without a mask or a score, and look like a success.

    Args:
        check_only: the value of the key.

    Raises:
        DataError: if it is true.

    >>> refuse_check_only(False)
    >>> refuse_check_only(True)
    Traceback (most recent call last):
        ...
    medseg.io.bounded.errors.DataError: check_only is True: without data and weights there is nothing to run; ...
    """
    if check_only:
        raise DataError(
            "check_only is True: without data and weights there is nothing to run; leave check_only out to run"
        )
