"""Hands the guidance in a batch to a guided network, in MONAI's engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.engines import PrepareBatchExtraInput
from torch import Tensor

from medseg.layers.guidance import Guidance

__all__ = ["PrepareGuidedBatch"]


class PrepareGuidedBatch(PrepareBatchExtraInput):
    """``prepare_batch`` of MONAI's trainers and evaluators for networks that take ``guidance``.

    In a bundle, as ``prepare_batch``: ``{"_target_": "medseg.training.PrepareGuidedBatch", "keys": {"spatial":
    "guide"}}``. Where an image is segmented in windows, `GuidedInferer` must stand around the inferer.

    Args:
        keys: for fields of `medseg.layers.guidance.Guidance` the items of the batch that hold them, such as
            ``{"appearance": "histograms", "spatial": "guide", "guided": "guided"}``. For ``guided`` it can be a list of
            items: then a sample has guidance if all of them are true, such as the ``guided_key`` of
            `medseg.transforms.guidance.RandGuideDropoutd` and the flag of `medseg.transforms.guidance.ClickPatchesd`.

    Raises:
        ValueError: for a field that `Guidance` does not have, or without any.

    Example:
        >>> import torch
        >>> batch = {name: torch.zeros(2, 1, 8, 8) for name in ("image", "label", "guide")}
        >>> image, label, _, arguments = PrepareGuidedBatch({"spatial": "guide"})(batch)
        >>> arguments["guidance"].spatial.shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(self, keys: Mapping[str, str | Sequence[str]]) -> None:
        unknown = sorted(set(keys) - set(Guidance._fields))
        if unknown or not keys:
            found = f"{unknown[0]!r} among its fields" if unknown else "no field"
            raise ValueError(f"PrepareGuidedBatch: keys has {found}; expected some of {', '.join(Guidance._fields)}")
        several = {name: items for name, items in keys.items() if not isinstance(items, str)}
        if set(several) - {"guided"} or not all(several.values()):
            name, items = next(iter(several.items()))
            raise ValueError(f"PrepareGuidedBatch: keys has {items!r} for {name!r}; expected the name of one item")
        super().__init__({name: items for name, items in keys.items() if name not in several})
        self.flags: tuple[str, ...] = tuple(several.get("guided", ()))

    def __call__(
        self,
        batchdata: dict[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor, tuple[Any, ...], dict[str, Any]]:
        """Image, label, no further positional arguments, and ``{"guidance": Guidance(...)}``, on the device.

        Args:
            batchdata: the batch, with ``image`` and, for training, ``label``.
            device: where the tensors are wanted.
            non_blocking: see `torch.Tensor.to`.
            kwargs: others of `torch.Tensor.to`.

        Raises:
            ValueError: if the batch lacks an item.
        """
        assert isinstance(self.extra_keys, dict)
        missing = [key for key in (*self.extra_keys.values(), *self.flags) if key not in batchdata]
        if missing:
            raise ValueError(
                f"PrepareGuidedBatch: the batch has no item {missing[0]!r}; it has {', '.join(map(str, batchdata))}: "
                "make it by a transform, or leave it out of keys"
            )
        image, label, arguments, found = super().__call__(batchdata, device, non_blocking, **kwargs)
        if self.flags:
            flags = [batchdata[key].to(device=device, non_blocking=non_blocking, **kwargs) for key in self.flags]
            found["guided"] = torch.stack([flag.bool() for flag in flags]).all(0)
        return image, label, arguments, {"guidance": Guidance(**found)}
