"""Which items of a container are wanted: structures of a file, nodules of a reading, cases of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medseg.io.bounded.errors import DataError, shorten

__all__ = ["ALL_ITEMS", "ItemChoice"]


@dataclass(frozen=True)
class ItemChoice:
    """Names of the items that are wanted, and of those that are left out; an item may have several names.

    Attributes:
        only: what is wanted; empty for all.
        skip: what is left out.

    Example:
        >>> from medseg.io.bounded.choice import ItemChoice
        >>> choice = ItemChoice(only=("liver", "3"))
        >>> choice.wants("liver", "1"), choice.wants("spleen", "2"), choice.wants("lung", "3")
        (True, False, True)
    """

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def wants(self, *names: str) -> bool:
        """True if an item with these names is wanted."""
        return (not self.only or not set(names).isdisjoint(self.only)) and set(names).isdisjoint(self.skip)

    def check(self, where: object, what: str, items: Iterable[Sequence[str]]) -> None:
        """Refuse names that no item has: a mistyped name would leave out nothing, or everything.

        Args:
            where: the container, for the message.
            what: what an item is called, such as ``structure``.
            items: the names of every item.

        Raises:
            DataError: naming what was not found and what there is, or that nothing is left.
        """
        known = [tuple(names) for names in items]
        for option, chosen in (("--only", self.only), ("--skip", self.skip)):
            for name in chosen:
                if not any(name in names for names in known):
                    found = shorten([" = ".join(dict.fromkeys(names)) for names in known]) or "none"
                    raise DataError(f"{where}: {option} {name!r} is the name of no {what}; found {found}")
        if known and not any(self.wants(*names) for names in known):
            raise DataError(f"{where}: --only and --skip leave no {what} of {len(known)}; leave out fewer")


ALL_ITEMS = ItemChoice()
"""Everything is wanted."""
