"""A configuration that is only checked cannot be run."""

from __future__ import annotations

import pytest

from medseg.inference.check_only import refuse_check_only
from medseg.io.bounded.errors import DataError


def test_a_usual_configuration_runs() -> None:
    assert refuse_check_only(False) is None


def test_one_that_is_only_checked_is_refused_with_the_key() -> None:
    with pytest.raises(DataError, match=r"^check_only is True: .*; leave check_only out to run$"):
        refuse_check_only(True)
