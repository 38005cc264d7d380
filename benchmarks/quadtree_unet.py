"""Does a U-Net of adaptive convolutions learn more per minute? Step time, multiply-adds and Dice of three U-Nets.

The three have the same levels, widths and skip connections: adaptive blocks of three rounds at about a quarter of the
multiply-adds, their dense twin (same parameters, all positions active), and blocks of one dense convolution. They
train on 512 x 512 slices of synthetic abdomens, one slice a step, each for the same wall time, and are scored on
phantoms that none has seen. In every step the partition is computed from the CT itself, in a soft-tissue window.

Equal wall time needs a quiet machine: the nets train one after the other. One seed; the figures say nothing about
patients.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from monai.losses import DiceCELoss
from torch import Tensor, nn

from benchmarks._harness import Row, finish, header, time_interleaved
from medseg.datasets.phantom import abdomen_phantom
from medseg.networks import AdaptiveUNet
from medseg.ops import last_backend

SIDE = 512
CHANNELS = (16, 32, 64, 64)
BUDGET = (0.375, 0.16, 0.08)
INPUT_WINDOW, GUIDE_WINDOW = (-150.0, 250.0), (0.0, 200.0)
ADAPTIVE, DENSE, PLAIN = "adaptive", "dense stack of equal depth", "one convolution a layer"
TEST_SEED = 10_000


class Slices(NamedTuple):
    """Slices of phantoms: image and guide ``[N, 1, S, S]``, label ``[N, 1, S, S]``, and which phantom each is of."""

    image: Tensor
    guide: Tensor
    label: Tensor
    case: list[int]


def make_slices(seeds: Sequence[int], per_case: int) -> Slices:
    """Slices through the livers of synthetic abdomens, evenly spaced, 0.75 mm wide pixels."""
    images, labels, cases = [], [], []
    for seed in seeds:
        phantom = abdomen_phantom(seed, spacing_mm=(0.75, 0.75, 10.0), shape=(SIDE, SIDE, 20), n_tumours=8)
        filled = [z for z in range(20) if (phantom.label[..., z] > 0).sum() > 1000]
        for at in np.linspace(0, len(filled) - 1, per_case).round().astype(int):
            images.append(phantom.image[..., filled[at]].astype(np.float32))
            labels.append(phantom.label[..., filled[at]])
            cases.append(seed)
    hu = torch.from_numpy(np.stack(images))[:, None]
    label = torch.from_numpy(np.stack(labels).astype(np.int64))[:, None]
    return Slices(windowed(hu, INPUT_WINDOW), windowed(hu, GUIDE_WINDOW), label, cases)


def windowed(hu: Tensor, window: tuple[float, float]) -> Tensor:
    """HU between the ends of the window as 0 to 1."""
    low, high = window
    return (hu.clamp(low, high) - low) / (high - low)


def make_networks() -> dict[str, AdaptiveUNet]:
    """The three nets, adaptive and dense with equal weights at the start."""
    nets = {}
    for name, options in (
        (ADAPTIVE, {"budget": BUDGET, "reduce": "mean", "root": 2}),
        (DENSE, {"dense_equal": True}),
        (PLAIN, {"dense_equal": True, "rounds": 1, "mode": "replace"}),
    ):
        torch.manual_seed(0)
        net = AdaptiveUNet(2, 1, 3, channels=CHANNELS, **options)
        nets[name] = net.to(memory_format=torch.channels_last)
    nets[DENSE].load_state_dict(nets[ADAPTIVE].state_dict())
    return nets


class Trainer:
    """One net and its optimiser; a step takes one slice, flipped at random."""

    def __init__(self, net: AdaptiveUNet, data: Slices, rate: float = 3e-3) -> None:
        self.net, self.data, self.rate, self.steps = net, data, rate, 0
        self.optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-4)
        self.loss = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False)
        self.draw = np.random.default_rng(0)

    def step(self) -> float:
        """One update; returns the loss."""
        i, flip = int(self.draw.integers(len(self.data.case))), [d for d in (2, 3) if self.draw.random() < 0.5]
        image, guide, label = (t[i : i + 1].flip(flip) for t in self.data[:3])
        image = image.contiguous(memory_format=torch.channels_last)
        loss = self.loss(self.net(image, guide=guide), label)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimiser.step()
        self.steps += 1
        return float(loss.detach())

    def train(self, seconds: float) -> float:
        """Steps until the time is up, the learning rate falling along a cosine; returns the mean of the last losses."""
        self.net.train()
        start = time.perf_counter()
        recent: list[float] = []
        while (spent := (time.perf_counter() - start) / seconds) < 1:
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate * 0.5 * (1 + math.cos(math.pi * spent))
            recent = [*recent[-49:], self.step()]
        return sum(recent) / len(recent)


@torch.no_grad()
def dice(net: AdaptiveUNet, data: Slices) -> dict[str, float]:
    """Mean over phantoms of the Dice of liver (with its tumours) and of tumours, over all slices of a phantom."""
    net.eval()
    sums: dict[int, np.ndarray] = {}
    for i, case in enumerate(data.case):
        image = data.image[i : i + 1].contiguous(memory_format=torch.channels_last)
        found = net(image, guide=data.guide[i : i + 1]).argmax(1, keepdim=True)
        counts = [
            [int((f & t).sum()), int(f.sum()) + int(t.sum())]
            for f, t in ((found > 0, data.label[i : i + 1] > 0), (found == 2, data.label[i : i + 1] == 2))
        ]
        sums[case] = sums.get(case, np.zeros((2, 2))) + np.array(counts)
    scores = np.array([2 * s[:, 0] / np.maximum(s[:, 1], 1) for s in sums.values()])
    return {"dice_liver": float(scores[:, 0].mean()), "dice_tumour": float(scores[:, 1].mean())}


def multiply_adds(net: AdaptiveUNet, data: Slices) -> float:
    """Mean multiply-adds a slice, in units of 1e9."""
    if not net.adaptive_levels:
        return net.macs((SIDE, SIDE)) / 1e9
    return sum(net.macs((SIDE, SIDE), net.plan(g)) for g in data.guide.split(1)) / len(data.case) / 1e9


def time_rows(trainers: dict[str, Trainer], macs: dict[str, float], quick: bool) -> list[Row]:
    """Training steps of the three nets in turn; the ideal is the ratio of the multiply-adds."""
    steps: dict[str, Callable[[], object]] = {name: trainer.step for name, trainer in trainers.items()}
    times = time_interleaved(steps, 4 if quick else 15, 15 if quick else 60)
    rows: list[Row] = []
    for peer in (DENSE, PLAIN):
        ours, theirs = times[ADAPTIVE].median_ms, times[peer].median_ms
        row: Row = {"case": f"train step {SIDE}^2", "ours_ms": ours, "peer": peer, "peer_ms": theirs}
        row |= {"ratio": theirs / ours, "ideal": macs[peer] / macs[ADAPTIVE]}
        row["percent_of_ideal"] = 100 * row["ratio"] / row["ideal"]
        if peer == DENSE:
            row |= {"bar": ">= 2x", "pass": row["ratio"] >= 2}
        rows.append(row)
    return rows


def cover_note(net: AdaptiveUNet, data: Slices) -> str:
    """How much of liver and tumours lies inside the rounds' blocks."""
    shares = []
    for wanted in (data.label > 0, data.label == 2):
        inside = np.zeros(len(BUDGET))
        for guide, target in zip(data.guide.split(1), wanted.split(1), strict=True):
            mask = net.plan(guide).mask.float()[:, 0]
            blocks = nn.functional.interpolate(mask[None], size=(SIDE, SIDE))[0].bool()
            inside += (blocks & target[0]).flatten(1).sum(1).numpy()
        shares.append(", ".join(f"{100 * v:.0f} %" for v in inside / int(wanted.sum())))
    return f"Test slices, inside the blocks of rounds 1, 2, 3: liver {shares[0]}; tumours {shares[1]}."


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of every benchmark and the training time of each net."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps on a few slices; ends within a minute")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--json", type=Path, default=None, help="write header and rows to this file")
    parser.add_argument("--seconds", type=float, default=None, help="training time of each net (default 420, quick 4)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the study, prints its table and returns 1 if the step is not twice as fast as the dense stack's."""
    options = parse(argv)
    seconds = options.seconds or (4 if options.quick else 420)
    head = header(options.threads, "fresh output in every call")
    cases, tests, per_case = (2, 1, 3) if options.quick else (30, 10, 6)
    train = make_slices(range(cases), per_case)
    test = make_slices(range(TEST_SEED, TEST_SEED + tests), per_case)
    nets = make_networks()
    macs = {name: multiply_adds(net, train) for name, net in nets.items()}
    rows = time_rows({name: Trainer(net, train) for name, net in make_networks().items()}, macs, options.quick)
    head["versions"]["quadtree_conv"] = last_backend("quadtree_conv")
    for name, net in nets.items():
        trainer = Trainer(net, train)
        loss = trainer.train(seconds)
        row: Row = {"case": f"{seconds:.0f} s of training", "peer": name, "steps": trainer.steps, "loss": loss}
        row |= {"gmacs": macs[name], "percent_of_macs": 100 * macs[name] / macs[DENSE], **dice(net, test)}
        rows.append(row)
        print(row, flush=True)
    notes = [
        cover_note(nets[ADAPTIVE], test),
        f"{len(train.case)} training and {len(test.case)} test slices, synthetic.",
    ]
    return finish(options, head, rows, notes)


if __name__ == "__main__":
    raise SystemExit(main())
