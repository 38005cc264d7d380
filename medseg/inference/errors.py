"""The ways in which a segmentation can fail. Each message is one line: what was found, what was expected, the fix."""

from __future__ import annotations

__all__ = ["ConfigurationError", "InferenceError", "IntegrityError", "ResourceError", "root_cause"]


class InferenceError(Exception):
    """A failure at run time, such as a bundle that writes no mask. The base of the other errors of this room.

    >>> from medseg.inference import InferenceError, IntegrityError
    >>> issubclass(IntegrityError, InferenceError)
    True
    """


class ConfigurationError(InferenceError):
    """An argument, the bundle or its configuration is wrong; nothing was run.

    >>> from medseg.inference import ConfigurationError, read_case
    >>> try:
    ...     read_case("no_such_scan.nii.gz")
    ... except ConfigurationError as error:
    ...     print(error)
    no_such_scan.nii.gz: no such file or folder; expected an image file (...) or a DICOM folder
    """


class IntegrityError(InferenceError):
    """The case's data cannot be trusted: unreadable, ambiguous, or without a usable geometry.

    >>> import numpy as np
    >>> from medseg.inference import IntegrityError, read_case
    >>> try:
    ...     read_case(np.full((4, 4, 4), np.nan), affine_ras=np.eye(4))
    ... except IntegrityError as error:
    ...     print(error)
    array: no voxel holds a finite value; expected Hounsfield units
    """


class ResourceError(InferenceError):
    """Memory, disk or device ran out, or would have run out.

    >>> from medseg.inference import InferenceError, ResourceError
    >>> issubclass(ResourceError, InferenceError)
    True
    """


def root_cause(error: BaseException) -> BaseException:
    """The error that says what went wrong, behind plain ``RuntimeError``s in which libraries say only where.

    >>> from medseg.inference.errors import root_cause
    >>> try:
    ...     try:
    ...         int("x")
    ...     except ValueError as inner:
    ...         raise RuntimeError("applying transform T") from inner
    ... except RuntimeError as outer:
    ...     print(type(root_cause(outer)).__name__)
    ValueError
    """
    while type(error) is RuntimeError and error.__cause__ is not None:
        error = error.__cause__
    return error
