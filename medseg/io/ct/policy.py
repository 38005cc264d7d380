"""What to do with a CT series whose slices do not form a regular grid: refuse it, repair it by a rule, or split it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from medseg.io.bounded.errors import DataError

__all__ = ["GeometryPolicy"]

_CHOICES = {
    "tilt": ("refuse", "shear"),
    "gap": ("refuse", "resample", "split"),
    "duplicate": ("refuse", "keep-lowest"),
    "variable": ("refuse", "resample", "split", None),
}


@dataclass(frozen=True)
class GeometryPolicy:
    """The outcome for each kind of irregular series; the default refuses them all. It can be pickled.

    Attributes:
        tilt: gantry tilt. ``"shear"`` moves each slice within its plane (linear between pixels) on an upright grid
            whose third axis is the slice normal; the canvas grows so that no pixel is lost, new pixels are air.
        gap: missing slices. ``"resample"`` blends the neighbours linearly on the regular grid; ``"split"`` makes each
            evenly spaced stretch a series of its own.
        duplicate: several slices with equal pixels at one position. ``"keep-lowest"`` keeps the lowest InstanceNumber.
            Different images at one position are refused under every policy: no rule can choose among them.
        variable: spacing that changes; outcomes as for ``gap``. None: as ``gap``.
        max_gap: largest number of slices that ``"resample"`` may interpolate between two neighbours; wider gaps are
            refused.
        part: of a series that is split, the one stretch that is wanted, counted from 1; 0 takes them all.

    Example:
        >>> from medseg.io import GeometryPolicy
        >>> policy = GeometryPolicy(tilt="shear", gap="resample")
        >>> policy.outcome("tilt"), policy.outcome("missing"), policy.outcome("duplicate")
        ('shear', 'resample', 'refuse')
    """

    tilt: str = "refuse"
    gap: str = "refuse"
    duplicate: str = "refuse"
    variable: str | None = None
    max_gap: float = 1.0
    part: int = 0

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise DataError(f"{name} is {value!r}, expected one of {', '.join(map(str, allowed))}")
        if not 0 < self.max_gap < 1e6:
            raise DataError(f"max_gap is {self.max_gap}, expected a positive number of slices")
        if not (isinstance(self.part, int) and self.part >= 0):
            raise DataError(f"part is {self.part}, expected a number from 1, or 0 for all")

    def record(self) -> dict[str, Any]:
        """The policy as JSON keeps it; `from_record` gives it back."""
        return asdict(self)

    @classmethod
    def from_record(cls, where: object, value: object) -> GeometryPolicy:
        """The policy that `record` described.

        Args:
            where: the file that holds the record, for messages.
            value: the record.

        Raises:
            DataError: if it is no such record.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(value, Mapping) or set(value) != set(names):
            raise DataError(f"{where}: the record of the repair is no object with {', '.join(names)}")
        try:
            return cls(**value)
        except (DataError, TypeError) as error:
            raise DataError(f"{where}: the record of the repair holds other values than expected ({error})") from None

    def outcome(self, kind: str) -> str:
        """What is done with a problem of `medseg.geometry.slice_stack.StackProblem`'s kinds; shifts are refused."""
        variable = self.gap if self.variable is None else self.variable
        outcomes = {"tilt": self.tilt, "missing": self.gap, "variable": variable, "duplicate": self.duplicate}
        return outcomes.get(kind, "refuse")
