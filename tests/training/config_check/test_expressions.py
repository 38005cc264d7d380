"""Expressions: which pass, which are refused, and what is known about their values before the run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from medseg.training.config_check.expressions import Expressions
from medseg.training.config_check.findings import RefusedError
from medseg.training.config_check.known import Instance, Known

CONFIG = {
    "imports": [
        "$import math",
        "$import os",
        "$import numpy as np",
        "$from monai.handlers import from_engine",
        "$from medseg.losses import AcrossRanks",
    ],
    "network": {"_target_": "monai.networks.nets.UNet"},
    "made": {"_target_": "medseg.networks.create", "name": "vnet"},
    "moved": "$@network.to(@device)",
    "device": "$torch.device('cpu')",
    "evaluator": {"_target_": "SupervisedEvaluator"},
    "loss": {"_target_": "medseg.losses.DiceLoss"},
    "sizes": [64, 64, 64],
    "folder": "data",
    "again": "@folder",
    "epochs": 3,
    "steps": [{"_target_": "torch.nn.Identity"}],
    "circle": "@other_half",
    "other_half": "$@circle",
}


@pytest.fixture
def expressions() -> Expressions:
    parser = ConfigParser(CONFIG)
    parser.parse()
    found = Expressions(parser.ref_resolver.items, parser.locator)
    for line in CONFIG["imports"]:
        found.check(str(line)[1:])
    return found


@pytest.mark.parametrize(
    "text",
    [
        "1 + 2 * 3 ** 2 // 4 % 5",
        "-@epochs if @epochs > 2 and not False else None",
        "@sizes[0]",
        "@sizes[1:]",
        "[size // 2 for size in @sizes if size > 1]",
        "{name: 1 for name in ['a', 'b']}",
        "[[j for j in range(i)] for i in @sizes]",
        "{'image': @folder + '/a.nii.gz', 'label': None}",
        'f"{@folder}/run_{@epochs:03d}"',
        "lambda batch: [item['image'].meta for item in batch]",
        "lambda x, y=1: (x[0] + y).shape",
        "from_engine(['pred', 'label'])",
        "monai.handlers.from_engine('loss', first=True)",
        "AcrossRanks(@loss)",
        "torch.nn.Softmax(dim=1)",
        "torch.float32",
        "monai.utils.InterpolateMode.NEAREST.value",
        "np.float32",
        "torch.cuda.is_available() and @device.type == 'cuda'",
        "torch.backends.cudnn.benchmark",
        "@network.parameters()",
        "@network.to(@device).eval()",
        "@moved.parameters()",
        "@made.to('cpu')",
        "@evaluator.run()",
        "@evaluator.state.metrics['val_mean_dice']",
        "math.ceil(len(@sizes) / 2)",
        "os.path.join(@folder, 'a')",
        "@folder.split('/')[-1]",
        "@again.upper()",
        "'a,b'.split(',')",
        "sorted(@sizes, key=lambda size: -size)",
        "max(len(@sizes), 3)",
        "@steps[0]",
        "@network(torch.zeros([1, 1, 8, 8]))",
    ],
)
def test_what_a_configuration_needs_passes(text: str, expressions: Expressions) -> None:
    expressions.check(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("torch", "torch is a module; expected something in it"),
        ("@netwrk.to('cpu')", "refers to @netwrk, which is not there; expected @network"),
        ("len(@sizes", "is no expression of Python"),
        ("x = 1", "is no expression of Python"),
        ("lenn(@sizes)", "has the name 'lenn', which is neither imported nor committed; did you mean len?"),
        ("monai.handlers.from_engin('a')", "reads 'from_engin' of monai.handlers, which has nothing of this name"),
        ("AcrossRanks(@loss, 1, 2, 3, rate=5)", "has the argument 'rate', which AcrossRanks does not have"),
        ("torch.nn.Linear(3)", "lacks the argument 'out_features' of Linear"),
        ("[_ for _ in @sizes]", "has the name '_'; expected names that do not begin with _"),
        ("lambda _x: 1", "has the name '_x'; expected names that do not begin with _"),
        ("[x.y for x in @sizes]", "reads 'y' of a value whose class is not known before the run"),
        ("@steps[0].run()", "calls 'run' of a value whose class is not known before the run"),
        ("@loss.backward()", "calls DiceLoss.backward, which is no committed method"),
        ("@evaluator.terminate", "has the method SupervisedEvaluator.terminate, which is not committed"),
        ("[x for x[0] in @sizes]", "loops over x[0]; expected plain names"),
        ("@sizes()", "calls @sizes, which is not a committed function"),
        ("1j", "has the constant 1j; expected a number, a text, True, False or None"),
        ("3 @ 4", "is no expression of Python"),
        ("[*@sizes]", "has a starred value"),
        ("from os import path as torch", "imports 'os.path' as torch, which means something else"),
        ("from . import x", "imports 'None.x'; expected a module by its full name"),
        ("import monai.bundle", "it is refused because monai.bundle downloads and runs bundles"),
        ("from torch import hub", "it is refused because torch.hub downloads code"),
        ("from monai.utils import no_such_thing", "imports 'monai.utils.no_such_thing', which is not there"),
        ("(" * 80 + "1" + ",)" * 80, "is nested more than 50 levels deep"),
    ],
)
def test_what_is_refused_says_why(text: str, reason: str, expressions: Expressions) -> None:
    with pytest.raises(RefusedError) as caught:
        expressions.check(text)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("@device", Instance(torch.device)),
        ("@made", Instance(torch.nn.Module)),
        ("@sizes", Instance(list)),
        ("@folder + '/a'", Instance(str)),
        ("len(@sizes)", Instance(int)),
        ("1 if @epochs else 2", Instance(int)),
        ("1 if @epochs else 'a'", None),
        ("lambda: 1", None),
    ],
)
def test_classes_of_values_are_known_before_the_run(text: str, value: Any, expressions: Expressions) -> None:
    assert expressions.check(text) == value


def test_a_network_stays_its_class_on_a_device(expressions: Expressions) -> None:
    assert expressions.value_of("moved") == expressions.value_of("network")


def test_what_cannot_be_told_is_kept_for_a_report_of_its_own(expressions: Expressions) -> None:
    expressions.check("@circle.run()")
    assert expressions.assumed["other_half"].startswith("refers to @circle, which refers back to it")


def test_an_import_is_the_object(expressions: Expressions) -> None:
    import math

    assert expressions.check("import math") == Known(math)
