"""Sparse downsampling: a pooling layer for small, compact targets that keeps the best patches of a map."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
from monai.networks.layers.factories import Pool
from torch import Tensor, nn
from torch.nn import functional as F

from medseg._arguments import checked_arguments
from medseg.layers.default_patch import default_patch
from medseg.layers.keep_gradients import in_process_group, keep_gradients
from medseg.layers.keep_metadata import keep_metadata
from medseg.layers.map_check import check_map
from medseg.layers.named import Named, split_named
from medseg.layers.patch_evaluator import SharedPatchEvaluator, SlotPatchEvaluator, patch_l1
from medseg.ops import patch_select, patch_select_shared, score_argmax
from medseg.ops.patch_select import check_options

__all__ = ["PatchIndex", "Selection", "SparseDownsample"]

PADDINGS = ("error", "constant", "replicate")
EVALUATORS = ("shared", "slots", "norm")


class PatchIndex(NamedTuple):
    """Original positions of the patches of a sparse downsampling; `medseg.layers.SparseUpsample` needs them.

    Example:
        >>> out, place = SparseDownsample(2, channels=3, patch=4, return_index=True)(torch.randn(2, 3, 16, 16))
        >>> place.index.shape, place.patch, place.size
        (torch.Size([2, 4]), 4, (16, 16))
    """

    index: Tensor
    """int32 ``[B, M]``: number of the patch in every slot, in raster order of the patches of the (padded) input."""
    patch: int
    """Side of a patch in voxels."""
    size: tuple[int, ...]
    """Spatial size of the input before padding."""


class Selection(NamedTuple):
    """The selection of a layer in its last call, detached; see `medseg.layers.selection_health`.

    Example:
        >>> layer = SparseDownsample(2, channels=3, patch=4)
        >>> layer.record = True
        >>> out = layer(torch.randn(2, 3, 16, 16))
        >>> layer.selection.scores.shape, layer.selection.norms.shape
        (torch.Size([2, 16]), torch.Size([2, 16]))
    """

    place: PatchIndex
    scores: Tensor | None
    """``[B, N]``: score of every patch (its best score over all slots); None if the norm decides."""
    norms: Tensor
    """``[B, N]``: mean absolute value of every patch."""


@checked_arguments
class SparseDownsample(nn.Module):
    """Halves every side of a map by keeping 1 of 2^d patches, selected by a small evaluator network.

    The map is cut into N patches of side ``patch``; M = N / 2^d of them form the output. There are three evaluators.
    "shared" gives one score per patch and keeps the best M, in raster order; a new one prefers patches with a large
    mean and maximum. "slots" gives a score for every pair of patch and output slot; a new one selects every second
    patch along each axis (`SlotPatchEvaluator`). "norm" keeps the patches with the largest mean absolute value and has
    no parameters: a study should include it as a control, beside max pooling.

    Selection is a step function, so its derivative is replaced by a surrogate: "softmax" weights every patch by its
    softmax score; "paper" is the step with derivative ``slope`` below the maximum (`medseg.ops.patch_select`; with
    ``evaluator="slots"`` and ``assignment="argmax"`` this is the original form, with repeated patches); "none" trains
    only the features.

    Choose ``patch`` near the side of the target in this map, and small enough for 16 to 64 patches. Keep max pooling as
    the first and last pooling of a network. Set `warm` (the norm selects) for the first third of the training
    (`medseg.training.warmup`), and give the evaluators a fifth of the learning rate
    (`medseg.training.evaluator_parameters`). For findings that fill the image, use ``residual="max"`` or do not use the
    layer: a selection loses diffuse texture.

    In training in several processes (`torch.distributed`), a warm evaluator gets a gradient of zero, as
    `torch.nn.parallel.DistributedDataParallel` needs one. In a single process it gets none.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the map.
        patch: side of a patch in voxels. None: `default_patch` of the map in each call, which works for all even sizes.
        evaluator: "shared", "slots" or "norm", or (name, options of `SharedPatchEvaluator` / `SlotPatchEvaluator`).
        assignment: "unique", or "argmax" (a patch can be in several slots; only for "slots").
        order: "raster", or "slots" (a patch is put into the slot that selected it; only for "slots").
        surrogate: "softmax", "paper" or "none".
        slope: scale of the surrogate derivative; values above 0.1 disturb the features.
        tau: temperature of the softmax.
        max_grad: False treats the maximum as a constant in the gradient of "paper".
        padding: what to do if a size is not a multiple of ``2 * patch``: "error" raises, "constant" (zeros) and
            "replicate" pad the end of each axis.
        residual: "max" returns w * selection + (1 - w) * max pooling with a learned w that is 0.5 at first.
        detach: True stops the gradient of the evaluator before the features.
        return_index: True returns ``(out, PatchIndex)``.
        keep_norms: "mean" or "sum" stores the L1 norms of the patches of the last call, with their gradient, in
            ``patch_norms`` for `medseg.losses.SparsityLoss`.

    Attributes:
        warm: while True, the norm selects instead of the evaluator; it is part of the state dict, so that evaluation
            and resumed training agree.
        record: while True, every call stores a `Selection` in ``selection``.

    Raises:
        ValueError: for options that do not exist or cannot be combined.

    Example:
        >>> layer = SparseDownsample(spatial_dims=2, channels=3, patch=4)
        >>> layer(torch.randn(2, 3, 32, 32)).shape
        torch.Size([2, 3, 16, 16])
    """

    warmup: Tensor

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        patch: int | None = None,
        evaluator: Named = "shared",
        assignment: str = "unique",
        order: str = "raster",
        surrogate: str = "softmax",
        slope: float = 0.1,
        tau: float = 1.0,
        max_grad: bool = True,
        padding: str = "error",
        residual: str | None = None,
        detach: bool = False,
        return_index: bool = False,
        keep_norms: str | None = None,
    ) -> None:
        super().__init__()
        name, options = split_named("SparseDownsample", "evaluator", evaluator)
        _check(spatial_dims, channels, patch, name, assignment, order, padding, residual, keep_norms)
        check_options("SparseDownsample", assignment, order, surrogate, slope, tau)
        self.spatial_dims, self.channels, self.patch = spatial_dims, channels, patch
        self.kind, self.assignment, self.order = name, assignment, order
        self.surrogate, self.slope, self.tau, self.max_grad = surrogate, slope, tau, max_grad
        self.padding, self.detach, self.return_index, self.keep_norms = padding, detach, return_index, keep_norms
        self.evaluator: nn.Module | None = None
        if name == "norm" and options:
            raise ValueError(f"SparseDownsample: evaluator 'norm' takes no options; found {sorted(options)}")
        if name != "norm":
            kind = SharedPatchEvaluator if name == "shared" else SlotPatchEvaluator
            self.evaluator = kind(spatial_dims, channels, **options)
        self.mix = nn.Parameter(torch.tensor(0.5)) if residual == "max" else None
        self.max_pool = Pool["MAX", spatial_dims](2) if residual == "max" else None
        self.register_buffer("warmup", torch.zeros((), dtype=torch.bool))
        self._warm = False
        self._told = False
        self.record = False
        self.selection: Selection | None = None
        self.patch_norms: Tensor | None = None

    @property
    def warm(self) -> bool:
        """Whether the norm selects the patches instead of the evaluator."""
        return self._warm

    @warm.setter
    def warm(self, value: bool) -> None:
        self._warm = bool(value)
        self.warmup.fill_(self._warm)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._warm = bool(self.warmup)  # a Python value, so that no call has to wait for the device

    @keep_metadata
    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, PatchIndex]:
        """Selects patches.

        Args:
            x: ``[B, C, *S]`` with C = ``channels``. A MetaTensor gives a MetaTensor with the same metadata. Its affine
                is not changed, because the selected patches do not form an image with an affine.

        Returns:
            ``[B, C, *S / 2]`` in the dtype of x (sizes are first padded to multiples of ``2 * patch``), and with
            ``return_index`` the `PatchIndex`.

        Raises:
            ValueError: for channels or sizes that do not match.
        """
        check_map("SparseDownsample", x)
        patch = self._patch_of(x)
        padded = self._padded(x, patch)
        out, index, scores = self._select(padded, patch)
        if self.mix is not None and self.max_pool is not None:
            weight = self.mix.to(out.dtype)
            out = weight * out + (1 - weight) * self.max_pool(padded)
        if self.keep_norms is not None:
            self.patch_norms = patch_l1(padded, patch, self.keep_norms)
        place = PatchIndex(index, patch, tuple(x.shape[2:]))
        if self.record:
            best = None if scores is None else scores.detach()
            self.selection = Selection(place, best, patch_l1(padded.detach(), patch))
        return (out, place) if self.return_index else out

    def _select(self, x: Tensor, patch: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """The selected patches, their numbers, and the scores if there is an evaluator."""
        if self.evaluator is None or self._warm:
            with torch.no_grad():
                norms = patch_l1(x if x.dtype == torch.float64 else x.float(), patch)
            out, index = patch_select_shared(x, norms, patch, surrogate="none")
            # In a single process the evaluator has no gradient, so that optimisers neither change it nor count steps.
            if self.evaluator is not None and in_process_group():
                out = keep_gradients(out, self.evaluator.parameters())
            return out, index, None
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 scores are often equal: then the index decides
            found = self.evaluator(x.detach() if self.detach else x, patch)
        if self.kind == "shared":
            selected = patch_select_shared(
                x, found, patch, self.slope, self.max_grad, surrogate=self.surrogate, tau=self.tau
            )
            return *selected, found
        keys, queries = found
        out, index = patch_select(
            x,
            keys,
            queries,
            patch,
            self.slope,
            self.max_grad,
            assignment=self.assignment,
            order=self.order,
            surrogate=self.surrogate,
            tau=self.tau,
        )
        return out, index, best_slot_scores(keys, queries) if self.record else None

    def _patch_of(self, x: Tensor) -> int:
        """The side of a patch for this map."""
        if x.ndim != self.spatial_dims + 2 or x.shape[1] != self.channels:
            raise ValueError(
                f"SparseDownsample: input has shape {list(x.shape)}; expected [B, {self.channels}, "
                f"{self.spatial_dims} spatial axes]"
            )
        if self.patch is not None:
            return self.patch
        even = self.padding != "error"
        return default_patch([s + s % 2 if even else s for s in x.shape[2:]])

    def _padded(self, x: Tensor, patch: int) -> Tensor:
        step = 2 * patch
        self._warn_small_patches(patch, max(x.shape[2:]))
        missing = [-s % step for s in x.shape[2:]]
        if not any(missing):
            return x
        if self.padding == "error":
            raise ValueError(
                f"SparseDownsample: spatial size {list(x.shape[2:])} with patch {patch}; expected multiples of "
                f"{step}: pad the image, choose another patch, or set padding='constant' or 'replicate'"
            )
        return F.pad(x, [v for m in reversed(missing) for v in (0, m)], mode=self.padding)

    def _warn_small_patches(self, patch: int, side: int) -> None:
        if patch == 2 and side > 16 and not self._told and not torch.compiler.is_compiling():
            self._told = True
            warnings.warn(
                f"SparseDownsample: patch 2 on a map of side {side} scrambles its local geometry; "
                "use a patch near the side of the target, such as 4 or 8",
                stacklevel=3,
            )

    def extra_repr(self) -> str:
        """The settings of the layer, for ``print``."""
        return (
            f"{self.channels}, patch={self.patch}, evaluator={self.kind!r}, assignment={self.assignment!r}, "
            f"order={self.order!r}, surrogate={self.surrogate!r}, slope={self.slope}, warm={self._warm}"
        )


def best_slot_scores(keys: Tensor, queries: Tensor) -> Tensor:
    """Best score ``[B, N]`` of every patch over all slots, without the matrix of scores."""
    with torch.no_grad():
        return score_argmax(queries.expand(keys.shape[0], -1, -1), keys)[1]


def _check(
    spatial_dims: int,
    channels: int,
    patch: int | None,
    evaluator: str,
    assignment: str,
    order: str,
    padding: str,
    residual: str | None,
    keep_norms: str | None,
) -> None:
    layer = "SparseDownsample"
    if spatial_dims not in (2, 3):
        raise ValueError(f"{layer}: spatial_dims is {spatial_dims}; expected 2 or 3")
    if channels < 1 or (patch is not None and patch < 1):
        raise ValueError(f"{layer}: channels is {channels} and patch is {patch}; expected at least 1")
    for name, value, allowed in (
        ("evaluator", evaluator, EVALUATORS),
        ("padding", padding, PADDINGS),
        ("residual", residual, (None, "max")),
        ("keep_norms", keep_norms, (None, "mean", "sum")),
    ):
        if value not in allowed:
            raise ValueError(f"{layer}: {name} is {value!r}; expected one of {', '.join(map(repr, allowed))}")
    if evaluator != "slots" and (assignment, order) != ("unique", "raster"):
        raise ValueError(
            f"{layer}: evaluator {evaluator!r} has one score per patch; expected assignment 'unique' and order "
            f"'raster', found {assignment!r} and {order!r} (or use evaluator 'slots')"
        )
