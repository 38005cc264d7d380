"""``pytest --traps``: run the tests of known traps alone, print a line for each, and fail if a trap has no test.

A test names its trap by ``@pytest.mark.trap("4.3-07")``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

TRAPS = {
    "4.3-01": "NIfTI without orientation: sform and qform codes both 0",
    "4.3-02": "NIfTI whose sform and qform disagree",
    "4.3-03": "NIfTI with a sheared sform",
    "4.3-04": "NIfTI in metres or microns",
    "4.3-05": "signs of LPS and RAS",
    "4.3-06": "array order of ITK and of nibabel",
    "4.3-07": "label whose header contradicts its image's",
    "4.3-08": "float32 noise in an affine",
    "4.3-09": "interpolated, float or scaled labels",
    "4.3-10": "scaling of stored values, for the file and for single slices",
    "4.3-11": "DICOM order by instance number or file name",
    "4.3-12": "SliceThickness and SpacingBetweenSlices that are no spacing",
    "4.3-13": "missing and duplicate slices",
    "4.3-14": "gantry tilt",
    "4.3-15": "sagittal and coronal series",
    "4.3-16": "decimal strings of more than 16 characters",
    "4.3-17": "multi-frame (enhanced) CT",
    "4.3-18": "mixed series, localizers, secondary captures",
    "4.3-19": "NRRD in RAS and in LPS space",
    "4.3-20": "feet first and prone patients",
    "4.3-21": "padding values outside the scan circle",
    "4.3-22": "fourth axis of length one",
    "4.4-01": "LiTS: identity header as placeholder, volumes 28 to 47",
    "4.4-02": "LiTS: mirrored volumes and labels",
    "4.4-03": "LiTS: label header that is not the image's",
    "4.4-04": "LiTS: front and back exchanged",
    "4.4-05": "LiTS: test volume stacked from front to back",
    "4.4-06": "LiTS: the same patients under other collections' names",
    "4.4-07": "LiTS: file names in numeric order",
    "4.4-08": "LiTS: cases without tumour",
    "4.4-09": "LiTS: tumours of one voxel",
    "4.4-10": "LiTS: a case marked as an outlier",
    "4.5-01": "several scans of a LIDC-IDRI patient",
    "4.5-02": "LIDC-IDRI slice thickness that is not the spacing",
    "4.5-03": "LIDC-IDRI scans with irregular slice positions",
    "4.5-04": "LIDC-IDRI exclusions, unclosed, single-point and slice-skipping outlines",
    "4.5-05": "LIDC-IDRI outlines on the first pixel outside, as column and row",
    "4.5-06": "LIDC-IDRI score outside its range",
    "4.5-07": "anonymous LIDC-IDRI reading sessions, small nodules and non-nodules marked by a point",
    "4.5-08": "pylidc's dependence on old NumPy, and its distances in pixels and slices",
    "4.5-09": "LIDC-IDRI nodules with more than four annotations",
    "4.5-10": "denominator of a consensus",
}
"""The traps that need a test now, by id."""


class TrapReport:
    """Selects the marked tests, keeps their outcomes and prints the table."""

    def __init__(self) -> None:
        self.tests: dict[str, tuple[str, ...]] = {}
        self.outcomes: dict[str, str] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if any(item.iter_markers("trap"))]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen
        self.tests = {item.nodeid: trap_ids(item) for item in items}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        worst = self.outcomes.get(report.nodeid, "passed")
        self.outcomes[report.nodeid] = report.outcome if worst == "passed" else worst

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("traps")
        for nodeid, ids in sorted(self.tests.items(), key=lambda pair: (pair[1], pair[0])):
            terminalreporter.line(f"{', '.join(ids)}  {self.outcomes.get(nodeid, 'not run'):8}  {nodeid}")
        for trap in missing_traps(self.tests.values()):
            terminalreporter.line(f"{trap}  NO TEST   {TRAPS[trap]}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if missing_traps(self.tests.values()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def trap_ids(item: pytest.Item) -> tuple[str, ...]:
    """The ids that a test is marked with; an unknown one is an error of the test suite."""
    ids = tuple(str(marker.args[0]) for marker in item.iter_markers("trap"))
    unknown = sorted(set(ids) - set(TRAPS))
    if unknown:
        raise pytest.UsageError(f"{item.nodeid}: trap {unknown[0]!r} is not in the list, expected one of {list(TRAPS)}")
    return ids


def missing_traps(marked: Iterable[tuple[str, ...]], traps: Mapping[str, str] = TRAPS) -> list[str]:
    """Ids of the list that no test is marked with."""
    found = {trap for ids in marked for trap in ids}
    return [trap for trap in traps if trap not in found]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--traps", action="store_true", help="run the tests of known traps alone and list them by id")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "trap(id): a known trap of medical image formats that the test covers")
    if config.getoption("--traps"):
        config.pluginmanager.register(TrapReport(), "traps")
