"""Stages tell their listener when they begin and keep their times."""

from __future__ import annotations

import pytest

from medseg.inference.stages import Stages


def test_the_listener_hears_every_stage_before_its_work() -> None:
    heard: list[tuple[str, str]] = []
    stages = Stages(lambda name, detail: heard.append((name, detail)))
    with stages.stage("read"):
        assert heard == [("read", "")]
    with stages.stage("measure", "3 classes"):
        pass
    assert heard == [("read", ""), ("measure", "3 classes")]
    assert list(stages.seconds) == ["read", "measure"]
    assert all(seconds >= 0 for seconds in stages.seconds.values())


def test_nothing_is_printed_and_a_stage_that_fails_is_timed_too(capfd: pytest.CaptureFixture[str]) -> None:
    stages = Stages()
    with pytest.raises(ValueError, match="broken"), stages.stage("read"):
        raise ValueError("broken")
    assert "read" in stages.seconds
    assert capfd.readouterr() == ("", "")


def test_a_copy_goes_on_by_itself() -> None:
    stages = Stages(seconds={"read": 1.5})
    twin = stages.copy()
    with twin.stage("write"):
        pass
    assert list(stages.seconds) == ["read"]
    assert list(twin.seconds) == ["read", "write"]
