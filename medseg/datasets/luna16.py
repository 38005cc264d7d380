"""LUNA16's tables: findings and candidates in LPS millimetres, their voxels, and the nodules that they show."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from medseg.geometry import world_to_voxel
from medseg.io.bounded.errors import DataError

__all__ = [
    "Candidate",
    "Finding",
    "Mark",
    "Match",
    "findings_to_voxels",
    "match_findings",
    "read_candidates",
    "read_excluded",
    "read_findings",
    "read_marks",
    "read_series",
]

MAX_CSV_BYTES = 256 * 1024 * 1024
_CENTRE = ("coordX", "coordY", "coordZ")


class Finding(NamedTuple):
    """One row of ``annotations.csv``: a nodule that at least three of four readers outlined.

    Attributes:
        series_uid: SeriesInstanceUID of the CT.
        centre_lps_mm: x, y, z in LPS mm.
        diameter_mm: positive.
        malignancy: the readers' scores, where the table has them.

    >>> Finding("1.2.3", (-42.0, 10.5, -120.0), diameter_mm=6.4).diameter_mm
    6.4
    """

    series_uid: str
    centre_lps_mm: tuple[float, float, float]
    diameter_mm: float
    malignancy: tuple[int, ...] = ()


class Candidate(NamedTuple):
    """One row of ``candidates.csv`` or ``candidates_V2.csv``.

    Attributes:
        series_uid: SeriesInstanceUID of the CT.
        centre_lps_mm: x, y, z in LPS mm.
        nodule: True for class 1, False for class 0.

    >>> Candidate("1.2.3", (-42.0, 10.5, -120.0), nodule=True).nodule
    True
    """

    series_uid: str
    centre_lps_mm: tuple[float, float, float]
    nodule: bool


class Mark(NamedTuple):
    """One row of a submission: a place that a method marks.

    Attributes:
        series_uid: SeriesInstanceUID of the CT.
        centre_lps_mm: x, y, z in LPS mm.
        probability: higher for more certain marks; any finite number.

    >>> Mark("1.2.3", (-42.0, 10.5, -120.0), probability=0.9).probability
    0.9
    """

    series_uid: str
    centre_lps_mm: tuple[float, float, float]
    probability: float


class Match(NamedTuple):
    """A finding and the nodule it shows.

    Attributes:
        finding: index into the findings.
        nodule: index into the nodules.
        distance_mm: between their centres.

    >>> match_findings([Finding("1.2.3", (0.0, 0.0, 0.0), 8.0)], [(3.0, 0.0, 0.0)])
    [Match(finding=0, nodule=0, distance_mm=3.0)]
    """

    finding: int
    nodule: int
    distance_mm: float


def read_findings(path: str | Path) -> list[Finding]:
    """Read ``annotations.csv``, or a table with the same columns and the readers' scores in ``mal_details``.

    Args:
        path: CSV with columns seriesuid, coordX, coordY, coordZ, diameter_mm.

    Raises:
        DataError: one line with file, line and value: a missing column, text instead of a number, an impossible score.

    >>> from pathlib import Path
    >>> text = "seriesuid,coordX,coordY,coordZ,diameter_mm\\n1.2.3,-42,10.5,-120,6.4\\n"
    >>> _ = Path("annotations.csv").write_text(text)
    >>> read_findings("annotations.csv")[0].centre_lps_mm
    (-42.0, 10.5, -120.0)
    """
    found = []
    for line, row in _rows(Path(path), ("seriesuid", *_CENTRE, "diameter_mm")):
        diameter = _number(path, line, row, "diameter_mm")
        if diameter <= 0:
            raise DataError(f"{path}, line {line}: diameter_mm is {diameter:g}, expected a positive number")
        scores = _scores(path, line, row.get("mal_details") or "")
        found.append(Finding(row["seriesuid"].strip(), _centre(path, line, row), diameter, scores))
    return found


def read_excluded(path: str | Path) -> list[Finding]:
    """Read ``annotations_excluded.csv``: findings on which a mark is neither right nor wrong.

    Args:
        path: CSV as for `read_findings`; a diameter of -1 says that there is none.

    Raises:
        DataError: as `read_findings`, and for a diameter that is neither positive nor -1.

    >>> from pathlib import Path
    >>> text = "seriesuid,coordX,coordY,coordZ,diameter_mm\\n1.2.3,-42,10.5,-120,-1\\n"
    >>> _ = Path("annotations_excluded.csv").write_text(text)
    >>> read_excluded("annotations_excluded.csv")[0].diameter_mm
    -1.0
    """
    found = []
    for line, row in _rows(Path(path), ("seriesuid", *_CENTRE, "diameter_mm")):
        diameter = _number(path, line, row, "diameter_mm")
        if not (diameter > 0 or diameter == -1):
            raise DataError(f"{path}, line {line}: diameter_mm is {diameter:g}, expected a positive number, or -1")
        found.append(Finding(row["seriesuid"].strip(), _centre(path, line, row), diameter, ()))
    return found


def read_marks(path: str | Path) -> list[Mark]:
    """Read a submission: the marks of a method with their probabilities.

    Args:
        path: CSV with columns seriesuid, coordX, coordY, coordZ, probability.

    Raises:
        DataError: as `read_findings`.

    >>> from pathlib import Path
    >>> text = "seriesuid,coordX,coordY,coordZ,probability\\n1.2.3,-42,10.5,-120,0.9\\n"
    >>> _ = Path("marks.csv").write_text(text)
    >>> read_marks("marks.csv")[0].probability
    0.9
    """
    return [
        Mark(row["seriesuid"].strip(), _centre(path, line, row), _number(path, line, row, "probability", ""))
        for line, row in _rows(Path(path), ("seriesuid", *_CENTRE, "probability"))
    ]


def read_series(path: str | Path) -> list[str]:
    """Read ``seriesuids.csv``: one SeriesInstanceUID a line, with or without a heading.

    Raises:
        DataError: one line if the file cannot be read, names no series, or names one twice.

    >>> from pathlib import Path
    >>> _ = Path("seriesuids.csv").write_text("1.2.3\\n1.2.4\\n")
    >>> read_series("seriesuids.csv")
    ['1.2.3', '1.2.4']
    """
    path, found = Path(path), []
    try:
        if (size := path.stat().st_size) > MAX_CSV_BYTES:
            raise DataError(f"{path}: {size} bytes, expected at most {MAX_CSV_BYTES} for a list of series")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a list of series ({error})") from error
    for number, line in enumerate(lines, 1):
        uid = line.strip().strip('"')
        if not uid or (number == 1 and uid == "seriesuid"):
            continue
        if not re.fullmatch(r"[\w.-]+", uid):
            raise DataError(f"{path}, line {number}: {uid[:40]!r} is no SeriesInstanceUID; expected one a line")
        found.append(uid)
    twice = next((uid for uid, times in Counter(found).items() if times > 1), None)
    if twice is not None:
        raise DataError(f"{path}: names the series {twice} twice; expected each one once")
    if not found:
        raise DataError(f"{path}: names no series; expected one SeriesInstanceUID a line")
    return found


def read_candidates(path: str | Path) -> list[Candidate]:
    """Read a table of candidate positions.

    Args:
        path: CSV with columns seriesuid, coordX, coordY, coordZ, class.

    Raises:
        DataError: as ``read_findings``, and for a class other than 0 and 1.

    >>> from pathlib import Path
    >>> text = "seriesuid,coordX,coordY,coordZ,class\\n1.2.3,-42,10.5,-120,1\\n"
    >>> _ = Path("candidates.csv").write_text(text)
    >>> read_candidates("candidates.csv")[0].nodule
    True
    """
    found = []
    for line, row in _rows(Path(path), ("seriesuid", *_CENTRE, "class")):
        if row["class"].strip() not in ("0", "1"):
            raise DataError(f"{path}, line {line}: class is {row['class']!r}, expected 0 or 1")
        found.append(Candidate(row["seriesuid"].strip(), _centre(path, line, row), row["class"].strip() == "1"))
    return found


def findings_to_voxels(findings: Sequence[Finding | Candidate], affine_ras: ArrayLike) -> NDArray[np.float64]:
    """Fractional voxel indices of findings of one image.

    The centres are LPS and the affine is RAS, so x and y change sign; array axes may have any direction.

    Args:
        findings: rows of the image's own series.
        affine_ras: 4 x 4, voxel to RAS mm, e.g. of a MetaImage or NIfTI file.

    Returns:
        float64 ``(n, 3)`` in array order.

    >>> import numpy as np
    >>> finding = Finding("1.2.3", (-42.0, 10.0, -120.0), 6.4)
    >>> findings_to_voxels([finding], np.diag([2.0, 2.0, 2.0, 1.0])).tolist()
    [[21.0, -5.0, -60.0]]
    """
    centres = np.array([item.centre_lps_mm for item in findings], dtype=np.float64).reshape(-1, 3)
    return world_to_voxel(centres, affine_ras, "LPS")


def match_findings(findings: Sequence[Finding], centres_lps_mm: ArrayLike) -> list[Match]:
    """Pair findings with nodules of the same scan, one to one, with the least total distance.

    Only a nodule whose centre lies within the finding's radius can be paired with it (the challenge's rule for a hit).
    As many findings as possible are paired.

    Args:
        findings: rows of one series.
        centres_lps_mm: centres of the nodules of that series ``(m, 3)``, LPS mm.

    Returns:
        Pairs in the order of the findings; findings and nodules that are not paired are left out.

    >>> findings = [Finding("1.2.3", (0.0, 0.0, 0.0), 8.0), Finding("1.2.3", (50.0, 0.0, 0.0), 8.0)]
    >>> match_findings(findings, [(49.0, 0.0, 0.0), (200.0, 0.0, 0.0)])
    [Match(finding=1, nodule=0, distance_mm=1.0)]
    """
    nodules = np.asarray(centres_lps_mm, np.float64).reshape(-1, 3)
    if not len(findings) or not len(nodules):
        return []
    centres = np.array([item.centre_lps_mm for item in findings])
    distance = np.linalg.norm(centres[:, None] - nodules[None], axis=2)
    near = distance <= np.array([item.diameter_mm / 2 for item in findings])[:, None]
    # A forbidden pair costs more than all allowed pairs together, so it is chosen only if nothing else is left.
    forbidden = 1.0 + float(distance[near].sum()) if near.any() else 1.0
    rows, columns = linear_sum_assignment(np.where(near, distance, forbidden))
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [Match(a, b, float(distance[a, b])) for a, b in pairs if near[a, b]]


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        size = path.stat().st_size
        if size > MAX_CSV_BYTES:
            raise DataError(f"{path}: {size} bytes, expected at most {MAX_CSV_BYTES} for a LUNA16 table")
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path}: no column {missing[0]!r}; a LUNA16 table has {', '.join(columns)}")
            for row in reader:
                if any(row[name] is None for name in columns):
                    raise DataError(f"{path}, line {reader.line_num}: too few columns, expected {', '.join(columns)}")
                yield reader.line_num, row
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV table ({error})") from error


def _number(path: str | Path, line: int, row: Mapping[str, str], name: str, unit: str = " of millimetres") -> float:
    try:
        value = float(row[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{path}, line {line}: {name} is {row[name]!r}, expected a number{unit}")
    return value


def _centre(path: str | Path, line: int, row: Mapping[str, str]) -> tuple[float, float, float]:
    x, y, z = (_number(path, line, row, name) for name in _CENTRE)
    return x, y, z


def _scores(path: str | Path, line: int, text: str) -> tuple[int, ...]:
    words = text.strip().strip("[]").replace(",", " ").split()
    if any(word not in ("1", "2", "3", "4", "5") for word in words):
        raise DataError(f"{path}, line {line}: mal_details is {text!r}, expected scores of 1 to 5")
    return tuple(int(word) for word in words)
