"""What is done with voxel values that a network cannot use: not finite, or no CT in Hounsfield units."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from medseg.inference.errors import ConfigurationError, IntegrityError
from medseg.io.volumes.finite import AIR_HU, ON_NONFINITE, NonFinite, check_fill_value, settle_nonfinite
from medseg.io.volumes.hounsfield import HuVerdict, hu_verdict

__all__ = ["CheckedValues", "InputRules", "check_values"]


class InputRules(NamedTuple):
    """How a case is judged before the network sees it. The default refuses what is not finite and doubts in a warning.

    Attributes:
        on_nonfinite: ``"refuse"`` or ``"fill"`` voxels that are NaN or infinite.
        fill_value: the HU that fill them.
        cropped: the image is a crop inside the body, so that missing air is no doubt.
        strict: refuse an image that can hardly be a CT in Hounsfield units, instead of a warning.

    >>> InputRules(on_nonfinite="fill").fill_value
    -1024.0
    """

    on_nonfinite: str = "refuse"
    fill_value: float = AIR_HU
    cropped: bool = False
    strict: bool = False

    def checked(self) -> InputRules:
        """The same rules.

        Raises:
            ConfigurationError: for another word than refuse and fill, or a fill value that is not finite.
        """
        if self.on_nonfinite not in ON_NONFINITE:
            raise ConfigurationError(
                f"on_nonfinite is {self.on_nonfinite!r}; expected one of {', '.join(ON_NONFINITE)}"
            )
        try:
            return self._replace(fill_value=check_fill_value(self.fill_value))
        except ValueError as error:
            raise ConfigurationError(str(error)) from error


class CheckedValues(NamedTuple):
    """Voxels that a network can use, and what was found about them.

    Attributes:
        array: finite voxels ``[i, j, k]``: those given, or a filled copy.
        filled: the voxels that were filled; None if all were finite.
        verdict: whether the image can be a CT in Hounsfield units.
        warnings: what was filled, and the doubt, one line each.
    """

    array: NDArray[Any]
    filled: NonFinite | None
    verdict: HuVerdict
    warnings: tuple[str, ...]


def check_values(array: NDArray[Any], where: object, rules: InputRules) -> CheckedValues:
    """Apply the rules to the voxels of a case.

    Args:
        array: voxels ``[i, j, k]``; never changed.
        where: the file, or "array", for errors.
        rules: what is refused, filled or only said.

    Raises:
        ConfigurationError: for rules that are wrong in themselves.
        IntegrityError: for what the rules refuse, in one line with the value found, what is expected and the fix.

    >>> scan = np.full((4, 4, 4), 40.0)
    >>> scan[0] = -1000
    >>> scan[1, 2, 3] = np.nan
    >>> check_values(scan, "scan.nii.gz", InputRules("fill")).warnings
    ('1 of 64 voxels are not finite ..., the first at index [1, 2, 3] (i, j, k); they were set to -1024 HU',)
    """
    rules = rules.checked()
    remedy = '--on-nonfinite fill (on_nonfinite="fill")'
    try:
        finite, filled = settle_nonfinite(array, where, rules.on_nonfinite, rules.fill_value, remedy)
    except ValueError as error:
        raise IntegrityError(str(error)) from error
    verdict = hu_verdict(finite, rules.cropped)
    doubt = verdict.doubt("--cropped, cropped=True")
    if doubt and rules.strict:
        raise IntegrityError(f"{where}: {doubt}")
    lines = [f"{filled.describe()}; they were set to {rules.fill_value:g} HU"] if filled else []
    return CheckedValues(finite, filled, verdict, (*lines, *([doubt] if doubt else [])))
