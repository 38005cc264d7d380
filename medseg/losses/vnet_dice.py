"""The Dice loss of V-Net, which has squares in its denominator."""

from __future__ import annotations

import math
from typing import Any

from medseg._arguments import checked_arguments
from medseg.losses.dice import DiceLoss

__all__ = ["VNetDiceLoss"]

_LEAST_SMOOTH = 1e-30


@checked_arguments
class VNetDiceLoss(DiceLoss):
    """MONAI's `DiceLoss` with squared predictions: ``1 - 2 sum p g / (sum p^2 + sum g^2)``.

    The formula is exactly MONAI's with ``squared_pred=True``; this class sets that argument and passes on all others.
    Its gradient with respect to voxel j of p is
    ``-2 [g_j (sum p^2 + sum g^2) - 2 p_j sum p g] / (sum p^2 + sum g^2)^2``.

    Source: Milletari, Navab and Ahmadi, V-Net, 2016, section 3.

    Args:
        **options: those of `monai.losses.DiceLoss`, such as ``softmax=True, to_onehot_y=True``. Because of
            ``smooth_nr`` and ``smooth_dr`` (1e-5 each), an empty prediction of an empty target has loss 0; the paper
            does not have these terms. With 0 for both, such a case also has loss 0.

    Raises:
        ValueError: if ``squared_pred`` is given as False, or ``smooth_nr`` and ``smooth_dr`` are out of range.

    Example:
        >>> logits, target = torch.tensor([[[[9.0, -9.0]], [[-9.0, 9.0]]]]), torch.tensor([[[[0, 1]]]])
        >>> round(float(VNetDiceLoss(softmax=True, to_onehot_y=True)(logits, target)), 4)
        0.0
    """

    def __init__(self, **options: Any) -> None:
        if not options.pop("squared_pred", True):
            raise ValueError("VNetDiceLoss: squared_pred is False; expected True, or use monai.losses.DiceLoss")
        nr, dr = (float(options.get(name, 1e-5)) for name in ("smooth_nr", "smooth_dr"))
        if not (0 <= nr < math.inf and _LEAST_SMOOTH <= dr < math.inf) and not nr == dr == 0:
            raise ValueError(
                f"VNetDiceLoss: smooth_nr is {nr} and smooth_dr {dr}; expected finite numbers from 0, and smooth_dr of "
                f"at least {_LEAST_SMOOTH:g} unless both are 0"
            )
        # This number is too small to change a quotient of sums of voxels, but it makes 0 / 0 equal to 1.
        nr, dr = (nr, dr) if dr else (_LEAST_SMOOTH, _LEAST_SMOOTH)
        super().__init__(squared_pred=True, **{**options, "smooth_nr": nr, "smooth_dr": dr})
