"""Stages announce themselves in order and keep their times."""

from __future__ import annotations

import io

import pytest

from medseg.inference.stages import Stages


def test_stages_are_numbered_lines_and_timed() -> None:
    stream = io.StringIO()
    stages = Stages(2, stream=stream)
    with stages.stage("read"):
        pass
    with stages.stage("measure", "3 classes"):
        pass
    assert stream.getvalue() == "[1/2] read\n[2/2] measure 3 classes\n"
    assert list(stages.seconds) == ["read", "measure"]
    assert all(seconds >= 0 for seconds in stages.seconds.values())
    assert not stages.interactive


def test_quiet_stages_print_nothing_but_are_timed_even_when_they_fail() -> None:
    stream = io.StringIO()
    stages = Stages(1, quiet=True, stream=stream)
    with pytest.raises(ValueError, match="broken"), stages.stage("read"):
        raise ValueError("broken")
    assert stream.getvalue() == ""
    assert "read" in stages.seconds
