"""The type of a result, with the check that it can hold the values: nothing is cut off and nothing wraps around."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from monai.config import DtypeLike
from monai.utils import get_equivalent_dtype

__all__ = ["OutputType", "Rounding"]

Rounding = Literal["nearest"] | None
"""How results become whole numbers for an integer type; None allows floating types only."""


class OutputType:
    """Converts floating results to the type that the user asked for.

    Args:
        dtype: the type; None for the type of the input.
        rounding: "nearest" rounds to whole numbers for an integer type; None refuses integer types.
        span: lowest and highest value of the results, if known.
        clip: whether the results are clipped to the span; None where a transform has no such option.

    Raises:
        ValueError: for a type that cannot hold the results, or another rounding.
    """

    def __init__(
        self,
        dtype: DtypeLike | torch.dtype,
        rounding: Rounding = None,
        span: tuple[float, float] | None = None,
        clip: bool | None = None,
    ) -> None:
        if rounding not in (None, "nearest"):
            raise ValueError(f"rounding is {rounding!r}, expected 'nearest' or None")
        self.rounding, self.span, self.clip = rounding, span, clip
        self.dtype = None if dtype is None else _torch_type(dtype)
        if self.dtype is not None:
            self._check(self.dtype, "dtype is")

    def __call__(self, values: Any, source: torch.dtype) -> Any:
        """The values of a floating tensor in the type.

        Args:
            values: floating tensor.
            source: type of the input, for a dtype of None.

        Raises:
            ValueError: for values that the type cannot hold.
        """
        dtype = source if self.dtype is None else self.dtype
        if self.dtype is None:
            self._check(dtype, "dtype is None and the input is")
        if dtype.is_floating_point:
            result = values.to(dtype)
            fits = dtype != torch.float16 or not bool((result.isinf() & values.isfinite()).any())
        else:
            values, limits = values.round(), torch.iinfo(dtype)
            # NaN makes both comparisons false.
            fits = bool(((values >= limits.min) & (values <= limits.max)).all())
            result = values.to(dtype)
        if not fits:
            low, high = (float(v) for v in values.detach().aminmax())
            raise ValueError(
                f"result has values from {low:g} to {high:g}, which {_name(dtype)} cannot hold; choose another dtype, "
                "or clip the values or replace NaN first"
            )
        return result

    def _check(self, dtype: torch.dtype, found: str) -> None:
        if dtype == torch.bool or dtype.is_complex:
            raise ValueError(f"{found} {_name(dtype)}, expected a type of real numbers")
        if not dtype.is_floating_point and self.rounding is None:
            raise ValueError(
                f"{found} {_name(dtype)}, which holds whole numbers only and would cut off fractions, expected a "
                "floating type such as float32, or rounding='nearest'"
            )
        if not dtype.is_floating_point and not torch.iinfo(dtype).min and self.clip is False:
            raise ValueError(f"{found} {_name(dtype)} with clip=False, expected clip=True: values below 0 would wrap")
        limits = torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)
        if self.span is not None and not (limits.min <= self.span[0] and self.span[1] <= limits.max):
            raise ValueError(
                f"{found} {_name(dtype)}, which holds {limits.min:g} to {limits.max:g}, expected a type that holds the "
                f"output range {self.span[0]:g} to {self.span[1]:g}"
            )


def _torch_type(dtype: Any) -> torch.dtype:
    try:
        native = dtype if isinstance(dtype, torch.dtype) else np.dtype(dtype).newbyteorder("=")
        found: torch.dtype = get_equivalent_dtype(native, torch.Tensor)
    except (TypeError, KeyError, ValueError):
        raise ValueError(f"dtype is {dtype!r}, expected a NumPy or torch type of real numbers") from None
    return found


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
