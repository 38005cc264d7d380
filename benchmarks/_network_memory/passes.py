"""Passes over whole volumes, window by window, with all buffers; the network itself is computed only a few times."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from monai.inferers import sliding_window_inference
from torch import Tensor
from torch.nn import functional as F

from medseg.inference.overlap_tile import overlap_tile_inference

OVERLAP = 0.25
Predictor = Callable[[Tensor], Tensor]


class Sampled:
    """A predictor that computes its first calls and returns the last result again in all later calls.

    The first call is a warm-up: its time counts only if it is the only one.

    Args:
        call: the predictor.
        most_calls: number of calls that are computed, the first one included.
        most_seconds: after this time no further call is computed, except the second.
    """

    def __init__(self, call: Predictor, most_calls: int, most_seconds: float) -> None:
        self.call, self.most_calls, self.most_seconds = call, most_calls, most_seconds
        self.calls, self.seconds = 0, list[float]()
        self.last: Tensor | None = None
        if hasattr(call, "output_size"):
            self.output_size = call.output_size

    def __call__(self, x: Tensor) -> Tensor:
        """The result for x, or that of the last call that was computed."""
        self.calls += 1
        done, spent = len(self.seconds), sum(self.seconds)
        if self.last is not None and done >= 2 and (done >= self.most_calls or spent >= self.most_seconds):
            return self.last
        start = time.perf_counter()
        self.last = self.call(x)
        self.seconds.append(time.perf_counter() - start)
        return self.last

    @property
    def timed(self) -> list[float]:
        """Seconds of the calls that count."""
        return self.seconds[1:] or self.seconds


class Pass(NamedTuple):
    """What a pass over a volume took.

    Attributes:
        windows: how many the volume has.
        timed: how many of them were timed.
        window_seconds: mean of those.
        seconds: of the whole pass: that mean times the number of windows, and what was measured of all the rest.
    """

    windows: int
    timed: int
    window_seconds: float
    seconds: float


def by_slices(volume: Tensor, classes: int, call: Predictor, neighbours: int = 0) -> Tensor:
    """Logits ``[classes, H, W, D]`` of a volume ``[C, H, W, D]``, one slice after the other.

    Args:
        volume: the volume, slices last.
        classes: channels of the result.
        call: network of images ``[1, C (2 neighbours + 1), H, W]``.
        neighbours: slices on either side that become channels; beyond the ends they are zero.
    """
    result = volume.new_zeros(classes, *volume.shape[1:])
    for z in range(volume.shape[-1]):
        first, last = max(0, z - neighbours), min(volume.shape[-1], z + neighbours + 1)
        missing = (first - (z - neighbours), z + neighbours + 1 - last)
        x = F.pad(volume[..., first:last], missing).permute(0, 3, 1, 2).flatten(0, 1)[None].contiguous()
        result[..., z] = call(x)[0]
    return result


def by_tiles(volume: Tensor, classes: int, call: Predictor, side: int) -> Tensor:
    """Logits of a volume from overlapping tiles of every slice, see `medseg.inference.overlap_tile`."""
    return by_slices(volume, classes, lambda x: overlap_tile_inference(x, side, call))


def by_windows(volume: Tensor, call: Predictor, window: tuple[int, ...]) -> Tensor:
    """Logits of a volume from MONAI's sliding window, blended by Gaussian weights where windows overlap."""
    found: Any = sliding_window_inference(volume[None], window, 1, call, overlap=OVERLAP, mode="gaussian")
    return found[0]


def run_pass(
    way: str, volume: Tensor, classes: int, window: tuple[int, ...], call: Predictor, most: int, limit: float
) -> Pass:
    """Goes over a volume once.

    Args:
        way: of `Case`.
        volume: ``[C, H, W, D]``.
        classes: of the network.
        window: what it sees at a time.
        call: the network.
        most: calls that are computed.
        limit: seconds after which no further call is computed.
    """
    sampled = Sampled(call, most, limit)
    start = time.perf_counter()
    with torch.inference_mode():
        if way == "windows":
            result = by_windows(volume, sampled, window)
        elif way == "tiles":
            result = by_tiles(volume, classes, sampled, window[0])
        else:
            result = by_slices(volume, classes, sampled, 1 if way == "triplets" else 0)
    elapsed = time.perf_counter() - start
    assert tuple(result.shape) == (classes, *volume.shape[1:])
    mean = sum(sampled.timed) / len(sampled.timed)
    rest = elapsed - sum(sampled.seconds)
    return Pass(sampled.calls, len(sampled.timed), mean, rest + mean * sampled.calls)
