"""The study of guided networks: equal starts, at test only the guidance that a user could give, record and tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks import guided_segmentation as study
from benchmarks._guided.cases import LIVER, TUMOUR, Case
from benchmarks._guided.prepared import WINDOW, Prepared, Sampler, crop_around, prepare, slices_of
from benchmarks._guided.record import GuidedRecord
from benchmarks._guided.report import report
from benchmarks._guided.rows import NETS, PLAIN, Net, build, row_name, trials_of
from benchmarks._guided.statistics import difference, interval
from benchmarks._guided.testing import predict, score_case
from benchmarks._guided.threshold import NAME as THRESHOLD
from benchmarks._guided.threshold import best_half_width, threshold_dice
from benchmarks._guided.training import Scale, Settings, Trained, fit, run_net, texture_scale
from medseg.layers.guidance import Guidance

FAST = Settings(most=3, steps=2, patience=2, batch=2, slices=4)


def _case(seed: int) -> Case:
    """A block of liver with a bright block of tumour, in a volume that is barely larger than a training crop."""
    rng = np.random.default_rng(seed)
    label = np.zeros((80, 64, 9), np.uint8)
    label[10:60, 10:50, 1:8] = LIVER
    i, j = rng.integers(15, 40, 2)
    label[i : i + 9, j : j + 8, 2:6] = TUMOUR
    image = np.choose(label, [-80, 60, 110]) + rng.normal(0, 6, label.shape)
    return Case(f"case_{seed}", np.rint(image).astype(np.int16), label, 50.0)


@pytest.fixture(scope="module")
def seen() -> Prepared:
    return prepare(_case(0), False, 0)


@pytest.fixture(scope="module")
def trained_on() -> list[Prepared]:
    return [prepare(_case(seed), True, seed) for seed in (1, 2)]


def test_a_crop_holds_the_organ_has_sides_of_whole_eights_and_stays_in_the_image() -> None:
    organ = torch.zeros(3, 50, 41, dtype=torch.bool)
    organ[1, 30:49, 3:20] = True
    rows, columns = crop_around(organ)
    assert (rows.stop - rows.start) % 8 == 0 and (columns.stop - columns.start) % 8 == 0
    assert rows.start <= 30 and rows.stop >= 49 and rows.stop <= 50
    assert columns.start <= 3 and columns.stop >= 20 and columns.start >= 0
    assert organ[:, rows, columns].sum() == organ.sum()


def test_neighbouring_slices_are_the_channels(seen: Prepared) -> None:
    crop = (slice(0, 16), slice(0, 16))
    batch = slices_of(seen, [3, 8], crop, seen.given["middle"])
    expected = (seen.hu[:, :16, :16].float().clamp(-150, 250) - 50) / 50
    assert torch.equal(batch.image[0], expected[2:5])
    assert torch.equal(batch.image[1], expected[[7, 8, 8]]), "the last slice is its own neighbour"


def test_training_samples_turn_image_label_and_guide_together(trained_on: list[Prepared]) -> None:
    batch = Sampler(trained_on, np.random.default_rng(0)).batch(24)
    assert batch.image.shape == (24, 3, *WINDOW)
    tumour = batch.label == TUMOUR
    assert tumour.flatten(1).any(1).float().mean() > 0.5
    bright = batch.image[:, 1] > 0.7  # 85 HU: between liver and tumour
    assert (bright == tumour).float().mean() > 0.999
    assert batch.spatial[:, 0][tumour].mean() > 0.3 > 5 * batch.spatial[:, 0][~tumour].mean()


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
def test_every_net_starts_as_the_trunk_and_differs_in_its_branches_alone(net: Net, seen: Prepared) -> None:
    torch.manual_seed(0)
    plain, module = build(PLAIN).eval(), build(net).eval()
    module.backbone.load_state_dict(plain.backbone.state_dict())
    batch = slices_of(seen, [3, 4], crop_around(seen.label > 0), seen.given["middle"])
    scale = texture_scale([seen])
    found = run_net(module, net, batch, scale, None)
    assert torch.equal(found, run_net(plain, PLAIN, batch, scale, None))
    size, trunk = (sum(p.numel() for p in m.parameters()) for m in (module, plain))
    assert trunk <= size < min(1.3 * trunk, 300_000)
    if net.guided:
        module.train()
        run_net(module, net, batch, scale, torch.tensor([True, False])).sum().backward()
        reached = [
            p.grad is not None and bool((p.grad != 0).any()) for n, p in module.named_parameters() if "last" in n
        ]
        assert all(reached) and (reached or not (net.density or net.texture))


class Spy(nn.Module):
    """Answers with a given label map and remembers what it was given."""

    def __init__(self, labels: Tensor | None = None) -> None:
        super().__init__()
        self.labels, self.given = labels, Guidance()

    def forward(self, image: Tensor, guidance: Guidance) -> Tensor:
        self.given = guidance
        labels = torch.zeros(image.shape[0], *image.shape[2:], dtype=torch.long) if self.labels is None else self.labels
        return nn.functional.one_hot(labels, 3).movedim(-1, 1).float()


def _spied(spy: Spy) -> Trained:
    return Trained(spy, Scale(torch.zeros(11), torch.ones(11)), {})


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
def test_only_oracle_rows_see_the_true_tumour_of_every_slice(net: Net, seen: Prepared) -> None:
    numbers = (seen.label > 0).flatten(1).any(1).nonzero()[:, 0]
    for trial in trials_of(net):
        spy = Spy()
        predict(_spied(spy), net, trial, seen)
        expected = seen.given["oracle" if "oracle" in row_name(net, trial) else "middle"]
        known = spy.given.tensors()
        assert ("appearance" in known, "texture" in known, "spatial" in known) == net[1:4]
        if net.density:
            assert torch.equal(known["appearance"], expected.appearance[numbers])
        if net.texture:
            assert torch.equal(known["texture"], expected.texture[numbers])
        if net.guided:
            assert bool(known["guided"].all()) is ("without" not in row_name(net, trial))
            assert bool(known["guided"].any()) is ("without" not in row_name(net, trial))


def test_the_truth_scores_one_and_tumour_outside_of_the_liver_or_the_range_is_dropped(seen: Prepared) -> None:
    numbers = (seen.label > 0).flatten(1).any(1).nonzero()[:, 0]
    crop = crop_around(seen.label > 0)
    truth = seen.label[numbers][:, crop[0], crop[1]].long()
    free, in_range = trials_of(PLAIN)
    assert score_case(_spied(Spy(truth)), PLAIN, free, seen) == 1.0
    apart = truth.clone()
    apart[0, :1, :2] = TUMOUR  # not connected to the liver
    assert score_case(_spied(Spy(apart)), PLAIN, free, seen) == 1.0
    beyond = truth.clone()
    beyond[-1][beyond[-1] == LIVER] = TUMOUR
    assert score_case(_spied(Spy(beyond)), PLAIN, free, seen) < 0.7
    assert score_case(_spied(Spy(beyond)), PLAIN, in_range, seen) == 1.0
    assert score_case(_spied(Spy()), PLAIN, free, seen) == 0.0


@pytest.mark.parametrize("net", [PLAIN, NETS[-1]], ids=lambda net: net.name)
def test_a_run_stops_says_how_and_is_decided_by_its_seed(net: Net, seen: Prepared, trained_on: list[Prepared]) -> None:
    first, again = (fit(net, trained_on, [seen], 3, FAST) for _ in range(2))
    assert first.record == again.record
    assert 1 <= first.record["evaluations"] <= 3
    assert first.record["capped"] == (first.record["evaluations"] - first.record["best_at"] < 2)
    weights = first.module.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in again.module.state_dict().items())
    other = fit(net, trained_on, [seen], 4, FAST)
    assert other.record["validation_loss"] != first.record["validation_loss"]


def test_training_lowers_the_validation_loss(seen: Prepared, trained_on: list[Prepared]) -> None:
    settings = Settings(most=4, steps=8, patience=4, batch=4, slices=4)
    start = fit(PLAIN, trained_on, [seen], 0, settings._replace(most=1, steps=1)).record["validation_loss"]
    assert fit(PLAIN, trained_on, [seen], 0, settings).record["validation_loss"] < 0.9 * start


def test_the_known_grey_value_finds_a_tumour_that_nothing_resembles(seen: Prepared) -> None:
    assert best_half_width([seen]) >= 10
    assert threshold_dice([seen], [prepare(_case(5), False, 0)])[0] > 0.8


def test_intervals_hold_cases_and_seeds() -> None:
    rng = np.random.default_rng(0)
    names = [f"c{i}" for i in range(60)]
    values = rng.uniform(0, 1, 60)
    crossed = {seed: dict(zip(names, values, strict=True)) for seed in range(5)}
    found = interval(crossed)
    width = 2 * 1.96 * values.std() / np.sqrt(60)
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(width, rel=0.15), "the same cases in every seed do not narrow it"
    nested = {seed: {f"{seed}_{n}": v for n, v in cases.items()} for seed, cases in crossed.items()}
    assert interval(nested).high - interval(nested).low < 0.7 * width
    shifted = {seed: {n: v + 0.2 * seed for n, v in cases.items()} for seed, cases in crossed.items()}
    assert interval(shifted).high - interval(shifted).low > 1.5 * width, "seeds that differ widen it"


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(1)
    theirs = {seed: {f"{seed}_{i}": float(v) for i, v in enumerate(rng.uniform(0, 1, 20))} for seed in range(3)}
    ours = {seed: {name: value + 0.1 for name, value in cases.items()} for seed, cases in theirs.items()}
    assert difference(ours, theirs) == pytest.approx((0.1, 0.1, 0.1))
    with pytest.raises(ValueError, match="no case in common"):
        difference({7: {"a": 1.0}}, theirs)


def _fill(record: GuidedRecord, seeds: range, capped: bool = False) -> None:
    rng = np.random.default_rng(0)
    for seed in seeds:
        for net in NETS:
            dice = {
                "phantoms": {
                    row_name(net, trial): {f"{seed}_{i}": float(v) for i, v in enumerate(rng.uniform(0, 1, 6))}
                    for trial in trials_of(net)
                }
            }
            told = {"evaluations": 20, "capped": capped, "parameters": 9, "cpu_seconds": 2.0}
            record.add({"net": net.name, "seed": seed, **told, "dice": dice})


def test_a_stopped_study_goes_on_where_it_was_and_refuses_other_settings(tmp_path: Path) -> None:
    path = tmp_path / "new" / "runs.jsonl"
    _fill(GuidedRecord(path, {"most": 3, "channels": (8, 16)}), range(2))
    again = GuidedRecord(path, {"most": 3, "channels": (8, 16)})
    assert again.has("both", 1) and not again.has("both", 2) and not again.has("other", 1)
    _fill(again, range(2, 3))
    assert len(GuidedRecord(path, None).runs) == 3 * len(NETS)
    assert sorted(GuidedRecord(path, None).scores("phantoms")["U-Net"]) == [0, 1, 2]
    with pytest.raises(SystemExit, match="made with most 3, now it is 4"):
        GuidedRecord(path, {"most": 4, "channels": (8, 16)})


def test_the_report_has_every_row_and_calls_too_many_capped_runs_unfinished(tmp_path: Path) -> None:
    record = GuidedRecord(tmp_path / "a.jsonl", {})
    assert "no finished run yet; command" in report(record, "command")
    _fill(record, range(2))
    text = report(record, "command")
    rows = [row_name(net, trial) for net in NETS for trial in trials_of(net)]
    assert all(f"| {row} | " in text for row in rows)
    assert "0 of 12 runs hit the cap" in text and "NOT FINISHED" not in text
    _fill(record, range(2, 4), capped=True)
    assert "12 of 24 runs hit the cap of evaluations: MORE THAN A FIFTH, NOT FINISHED" in report(record, "command")


def test_the_report_divides_cases_by_the_contrast_of_their_tumours(tmp_path: Path) -> None:
    record = GuidedRecord(tmp_path / "a.jsonl", {})
    record.add_contrasts({"a": -30.0, "b": 12.0, "c": 40.0, "d": -50.0})
    record.add_contrasts({"a": -30.0, "e": -12.0})
    dice = {"a": 0.1, "b": 0.3, "c": 0.9, "d": 0.3, "e": 0.5}
    record.add({"net": "U-Net", "seed": 0, "cpu_seconds": 1.0, "dice": {"phantoms": {"U-Net": dice}}})
    again = GuidedRecord(tmp_path / "a.jsonl", {})
    assert len(again.runs) == 1 and len(again.contrast_hu) == 5
    assert "| U-Net | 20.0 (n = 2) | 40.0 (n = 2) | 90.0 (n = 1) |" in report(again, "command")


def test_folds_test_every_phantom_once_and_keep_their_parts_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "_phantom", lambda number, training: [number])
    size = study.Size()
    folds = [study.load_fold(seed, size, None) for seed in range(study.SEEDS)]
    tested = [number for fold in folds for number in fold.tests["phantoms"]]
    assert sorted(tested) == list(range(study.SEEDS * size.test))
    for fold in folds:
        parts = [set(fold.training), set(fold.validation), set(fold.tests["phantoms"])]
        assert sum(map(len, parts)) == len(set.union(*parts))
        assert [len(part) for part in parts] == [size.training, size.validation, size.test]


def test_the_study_runs_end_to_end_and_is_not_run_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seen: Prepared,
    trained_on: list[Prepared],
) -> None:  # fmt: skip
    monkeypatch.delenv("MEDSEG_DATA", raising=False)
    monkeypatch.setattr(study, "load_fold", lambda *_: study.Fold(trained_on, [seen], {"phantoms": [seen]}))
    command = ["--quick", "--out", str(tmp_path), "--seeds", "0", "--nets", "U-Net", "random"]
    assert study.main(command) == 0
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    assert sorted(
        (run["net"] for run in GuidedRecord(tmp_path / "runs.jsonl", None).runs),
        key=[study.TRUNK, THRESHOLD, "U-Net", "random"].index,
    ) == [study.TRUNK, THRESHOLD, "U-Net", "random"]
    assert "| random, without |" in capsys.readouterr().out
    assert study.main(command) == 0
    assert (tmp_path / "runs.jsonl").read_text().splitlines() == lines


@pytest.mark.parametrize("words", [["--seeds", "5"], ["--quick"]])
def test_what_would_spoil_the_record_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        study.parse(words)
    assert stopped.value.code == 2
