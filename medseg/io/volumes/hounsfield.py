"""Can these voxels be a CT in Hounsfield units? A verdict from range and shares of air, tissue and dense voxels.

The scale has fixed points: air is -1000 HU, fat about -100, water 0, soft tissue 20 to 80, bone 300 to 3000. So a CT of
a patient holds soft tissue or fat, some air (around the patient, in lung or bowel) and few dense voxels. An image with
another unit or offset breaks at least one of these rules:

=======  =====================================================  =================  ==============  ===============
rule     what is counted                                        expected           in a crop       real scans
=======  =====================================================  =================  ==============  ===============
span     highest minus lowest value                             20 HU or more      the same        2,307 and more
range    every value                                            -65,536 to 32,767  the same        -2,048 to 3,382
below    under -1100, but for the two commonest values there    5 % or fewer       the same        0.01 % or fewer
air      -1100 to -850                                          0.1 % or more      may be missing  32 % or more
dense    above 850                                              10 % or fewer      50 % or fewer   1.8 % or fewer
tissue   -200 to 200                                            0.5 % or more      0.1 % or more   23 % or more
=======  =====================================================  =================  ==============  ===============

The last column holds the extremes of whole abdomens, chests and a head. The two commonest values under -1100 are what
scanners put outside their circle, such as -2048. Inside the body air may be missing and bone may be half of the voxels:
the caller states that the image is such a crop. What cannot be seen in a crop: an inverted sign, 8-bit grey values, and
a wrong offset where most of the crop is lung.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["HuVerdict", "hu_verdict"]

AIR = (-1100.0, -850.0)
TISSUE = (-200.0, 200.0)
DENSE_FROM = 850.0
LEAST_SPAN = 20.0
LOWEST, HIGHEST = -65536.0, 32767.0
MOST_BELOW = 0.05
LEAST_AIR = 0.001
LEAST_TISSUE, LEAST_TISSUE_IN_CROP = 0.005, 0.001
MOST_DENSE, MOST_DENSE_IN_CROP = 0.10, 0.50
LEAST_AFTER_REPAIR = 0.05
"""Share of air, and of tissue, from which a change of all values is named as the likely repair."""

_SAMPLE = 4_000_000
_CONVERT = "it may be cut off, have another unit or be of another kind (such as MR): convert it to Hounsfield units"
_EXPECTED = "expected air near -1000 and soft tissue near 40 HU"


class HuVerdict(NamedTuple):
    """Whether an image can be a CT in Hounsfield units.

    Attributes:
        lowest: lowest finite value; NaN for an image without one.
        highest: highest finite value.
        air: share of voxels from -1100 to -850, between 0 and 1.
        tissue: share from -200 to 200.
        dense: share above 850.
        below: share under -1100, without the two commonest values there.
        cropped: whether the image was stated to be a crop inside the body.
        finding: what was found and expected; empty if there is no doubt.
        cause: the likely cause and what helps; empty if there is no doubt.
        may_be_crop: whether nothing but the missing air speaks against Hounsfield units.

    >>> hu_verdict(np.linspace(0.0, 1.0, 60).reshape(3, 4, 5)).doubt()
    'values run from 0 to 1; expected air near -1000 and soft tissue near 40 HU; it was probably scaled to 0..1: ...'
    """

    lowest: float
    highest: float
    air: float
    tissue: float
    dense: float
    below: float
    cropped: bool
    finding: str = ""
    cause: str = ""
    may_be_crop: bool = False

    @property
    def plausible(self) -> bool:
        """True if nothing speaks against Hounsfield units."""
        return not self.finding

    def doubt(self, crop_option: str = "") -> str:
        """The doubt as one line: value found, what is expected, likely cause and fix. Empty if there is none.

        Args:
            crop_option: how the caller's user states that the image is a crop inside the body, such as ``--cropped``;
                named where a crop would explain the values.
        """
        if self.plausible:
            return ""
        crop = (
            f", or state that it is a crop inside the body ({crop_option})" if crop_option and self.may_be_crop else ""
        )
        return f"{self.finding}; {self.cause}{crop}"

    def record(self) -> dict[str, Any]:
        """The verdict for a report in JSON."""
        shares = {f"{name}_share": round(getattr(self, name), 6) for name in ("air", "tissue", "dense", "below")}
        return {"plausible": self.plausible, "stated_crop": self.cropped, **shares, "doubt": self.doubt() or None}


def hu_verdict(array: NDArray[Any], cropped: bool = False) -> HuVerdict:
    """Judge whether an image can be a CT in Hounsfield units. The rules are those of the module's table.

    Lowest and highest value are those of all finite voxels. Where there are more than 4 million, shares are taken from
    every n-th voxel along each axis.

    Args:
        array: voxels of any real type and shape; values that are not finite are left out.
        cropped: the image is a crop inside the body: missing air is no doubt, and bone may be half of it.

    >>> scan = np.full((10, 10, 10), -1000, np.int16)
    >>> scan[2:8, 2:8, 2:8] = 40
    >>> hu_verdict(scan).plausible
    True
    >>> hu_verdict(scan + 1024).doubt()
    'values run from 24 to 1064, 0 % of the voxels are air (-1100 to -850); ... intercept of -1024 was not applied ...'
    """
    values = array[np.isfinite(array)] if array.dtype.kind == "f" and not np.isfinite(array).all() else array
    if not values.size:
        return HuVerdict(np.nan, np.nan, 0, 0, 0, 0, cropped, "no voxel holds a finite value", "mend the file")
    lowest, highest = float(values.min()) + 0.0, float(values.max()) + 0.0  # no negative zero
    verdict = _measure(_sample(values), lowest, highest, cropped)
    rule = _broken_rule(verdict)
    if not rule:
        return verdict
    cause = _cause(_sample(values), verdict)
    may_be_crop = not cause and not _broken_rule(verdict._replace(cropped=True))
    return verdict._replace(finding=_finding(rule, verdict), cause=cause or _CONVERT, may_be_crop=may_be_crop)


def _sample(values: NDArray[Any]) -> NDArray[np.float64]:
    step = int(np.ceil((values.size / _SAMPLE) ** (1 / values.ndim)))
    return np.asarray(values[(slice(None, None, step),) * values.ndim], dtype=np.float64)


def _measure(values: NDArray[np.float64], lowest: float, highest: float, cropped: bool) -> HuVerdict:
    def share(low: float, high: float) -> float:
        return float(np.count_nonzero((values >= low) & (values <= high)) / values.size)

    _, counts = np.unique(values[values < AIR[0]], return_counts=True)
    below = float((counts.sum() - np.sort(counts)[-2:].sum()) / values.size)
    dense = float(np.count_nonzero(values > DENSE_FROM) / values.size)
    return HuVerdict(lowest, highest, share(*AIR), share(*TISSUE), dense, below, cropped)


def _broken_rule(verdict: HuVerdict) -> str:
    """Name of the first rule that the image breaks; empty if it keeps them all."""
    least_tissue = LEAST_TISSUE_IN_CROP if verdict.cropped else LEAST_TISSUE
    most_dense = MOST_DENSE_IN_CROP if verdict.cropped else MOST_DENSE
    rules = {
        "span": verdict.highest - verdict.lowest < LEAST_SPAN,
        "range": verdict.lowest < LOWEST or verdict.highest > HIGHEST,
        "below": verdict.below > MOST_BELOW,
        "air": not verdict.cropped and verdict.air < LEAST_AIR,
        "dense": verdict.dense > most_dense,
        "tissue": verdict.tissue < least_tissue,
    }
    return next((name for name, broken in rules.items() if broken), "")


def _finding(rule: str, verdict: HuVerdict) -> str:
    if verdict.lowest == verdict.highest:
        return f"every voxel is {verdict.lowest:g}; {_EXPECTED}"
    shares = {
        "below": f", {_percent(verdict.below)} of the voxels are far below air (-1100)",
        "air": f", {_percent(verdict.air)} of the voxels are air (-1100 to -850)",
        "dense": f", {_percent(verdict.dense)} of the voxels are denser than most bone (above 850)",
        "tissue": f", {_percent(verdict.tissue)} of the voxels are soft tissue or fat (-200 to 200)",
    }
    return f"values run from {verdict.lowest:g} to {verdict.highest:g}{shares.get(rule, '')}; {_EXPECTED}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _cause(values: NDArray[np.float64], verdict: HuVerdict) -> str:
    """The likely cause and what helps, by the range or by a change of values after which the image is plausible.

    Empty if none of them fits.
    """
    lowest, highest = verdict.lowest, verdict.highest
    normalised = highest - lowest < 100 and abs(values.mean()) < 0.1 and abs(values.std() - 1) < 0.1
    by_range = (
        (lowest == highest, "the image is empty: export it again"),
        (lowest >= 0 and highest <= 1, "it was probably scaled to 0..1: use the CT as it was before"),
        (lowest >= -1 and highest <= 1, "it was probably scaled to -1..1: use the CT as it was before"),
        (normalised, "it was probably normalised to mean 0 and standard deviation 1: use the CT as it was before"),
        (
            lowest == 0 and 250 <= highest <= 255,
            "these are probably 8-bit grey values: convert the DICOM series instead",
        ),
        (verdict.air > 0.9, "it probably shows air alone: choose another series or export it again"),
    )
    for holds, words in by_range:
        if holds:
            return words
    repairs = [
        (values - 1024, "the intercept of -1024 was not applied: add -1024 to every voxel"),
        (values + 1024, "the intercept of -1024 was applied twice: add 1024 to every voxel"),
        (-values, "the sign is inverted: multiply every voxel by -1"),
    ]
    if HIGHEST < highest < 65536:
        words = "negative values were stored as unsigned 16-bit: subtract 65536 from those above 32767"
        repairs.append((values - 65536 * (values > HIGHEST), words))
    likely = []
    for repaired, words in repairs:
        found = _measure(repaired, repaired.min(), repaired.max(), verdict.cropped)
        if _is_repaired(found):
            likely.append((found.below, np.count_nonzero(repaired < AIR[0]), words))
    # Air is the bottom of the scale: a wrong repair leaves voxels below it, where bone or tissue came to lie.
    return f"probably {min(likely)[-1]}" if likely else ""


def _is_repaired(verdict: HuVerdict) -> bool:
    has_air = verdict.cropped or verdict.air >= LEAST_AFTER_REPAIR
    return not _broken_rule(verdict) and has_air and verdict.tissue >= LEAST_AFTER_REPAIR
