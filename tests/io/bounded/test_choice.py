"""A choice among the items of a container never leaves out something unnoticed."""

from __future__ import annotations

import pytest

from medseg.io.bounded.choice import ALL_ITEMS, ItemChoice
from medseg.io.bounded.errors import DataError

ITEMS = [("liver", "1"), ("spleen", "2"), ("liver", "3")]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (ALL_ITEMS, ["1", "2", "3"]),
        (ItemChoice(only=("liver",)), ["1", "3"]),
        (ItemChoice(only=("2", "3")), ["2", "3"]),
        (ItemChoice(skip=("liver",)), ["2"]),
        (ItemChoice(only=("liver",), skip=("3",)), ["1"]),
    ],
)
def test_items_are_chosen_by_any_of_their_names(choice: ItemChoice, wanted: list[str]) -> None:
    choice.check("a.dcm", "structure", ITEMS)
    assert [names[1] for names in ITEMS if choice.wants(*names)] == wanted


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        (
            ItemChoice(only=("Liver",)),
            r"a\.dcm: --only 'Liver' is the name of no structure; found liver = 1,",
        ),
        (ItemChoice(skip=("4",)), "--skip '4' is the name of no structure"),
        (ItemChoice(skip=("liver", "2")), "leave no structure of 3; leave out fewer"),
        (ItemChoice(only=("1",), skip=("liver",)), "leave no structure of 3"),
    ],
)
def test_names_that_nothing_has_and_choices_of_nothing_are_refused(choice: ItemChoice, says: str) -> None:
    with pytest.raises(DataError, match=says):
        choice.check("a.dcm", "structure", ITEMS)
