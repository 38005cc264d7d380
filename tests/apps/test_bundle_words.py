"""Keys on a command line: read as JSON or Python, and printed so that MONAI's command line reads the same."""

from __future__ import annotations

import shlex
from typing import Any

import fire
import pytest

from medseg.apps.bundle_words import bundle_command, parse_value, printed_value, split_keys

VALUES = [
    *(True, False, None, 5, -1, 0.5, 1e-5, "", "text", "data/liver", "/data/lits", "5", "None", "True", "1e3"),
    *("-", "--x", "a b", "a,b", "{case}_seg", "$torch.device('cpu')", "@epochs", "%other.json::a", "it's", "a#b"),
    *([64, 64, 64], ["a", "b"], {"_target_": "UNet", "norm": ["instance", {"affine": True}]}, [], {}),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_printed_value_is_read_as_the_same_by_monai(value: Any) -> None:
    assert fire.parser.DefaultParseValue(printed_value(value)) == value
    assert type(fire.parser.DefaultParseValue(printed_value(value))) is type(value)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_printed_command_holds_every_value_behind_its_key(value: Any) -> None:
    def run(config_file: str, key: Any) -> Any:
        return config_file, key

    words = shlex.split(bundle_command(["a.json"], {"key": value}))
    assert fire.Fire(run, words[words.index("run") + 1 :], serialize=lambda result: "") == ("a.json", value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("True", True),
        ("null", None),
        ("None", None),
        ("5", 5),
        ("1e-3", 0.001),
        ("NaN", "NaN"),
        ('"5"', "5"),
        ("'5'", "5"),
        ("[1, 2]", [1, 2]),
        ("(1, 2)", [1, 2]),
        ("['a']", ["a"]),
        ('{"a": true}', {"a": True}),
        ("{case}_seg", "{case}_seg"),
        ("$[1]", "$[1]"),
        ("lung", "lung"),
    ],
)
def test_a_value_is_json_or_python_or_text(text: str, value: Any) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


@pytest.mark.parametrize("text", ["[64", "[a, b]", "{'a': }", "(1, b)"])
def test_half_a_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no list or mapping; expected JSON"):
        parse_value(text)


def test_keys_may_stand_anywhere_and_numbers_may_be_negative() -> None:
    words = ["--a", "-1", "x.json", "--trust", "--b=--c", "y.json"]
    assert split_keys(words, ["--trust"]) == (["x.json", "--trust", "y.json"], [("a", "-1"), ("b", "--c")])


@pytest.mark.parametrize("words", [["--a"], ["--a", "--b", "1"]])
def test_a_key_without_a_value_is_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^--a has no value; expected --a VALUE, such as --a true$"):
        split_keys(words, [])
