"""Stages announce themselves on the terminal in order."""

from __future__ import annotations

import io

from medseg.apps.stage_lines import StageLines
from medseg.inference.stages import Stages


def test_stages_are_numbered_lines() -> None:
    stream = io.StringIO()
    lines = StageLines(2, stream=stream)
    stages = Stages(lines)
    with stages.stage("read"):
        pass
    with stages.stage("measure", "3 classes"):
        pass
    assert stream.getvalue() == "[1/2] read\n[2/2] measure 3 classes\n"
    assert not lines.interactive


def test_quiet_lines_are_not_printed() -> None:
    stream = io.StringIO()
    lines = StageLines(1, quiet=True, stream=stream)
    lines("read")
    lines.say("warning: odd")
    assert stream.getvalue() == ""
    assert not lines.interactive
