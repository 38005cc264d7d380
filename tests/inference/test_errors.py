"""The cause of an error is found behind the wrappers of libraries."""

from __future__ import annotations

import itertools

from medseg.inference.errors import root_cause


def chain(*errors: BaseException) -> BaseException:
    """The first error, caused by the second, and so on."""
    for outer, inner in itertools.pairwise(errors):
        outer.__cause__ = inner
    return errors[0]


def test_plain_runtime_errors_are_looked_through() -> None:
    cause = ValueError("bad value")
    assert root_cause(chain(RuntimeError("in transform X"), RuntimeError("in loop Y"), cause)) is cause


def test_an_error_of_its_own_kind_is_the_cause() -> None:
    error = chain(ValueError("bad file"), OSError("no such file"))
    assert root_cause(error) is error
    alone = RuntimeError("plain")
    assert root_cause(alone) is alone
