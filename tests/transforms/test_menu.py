"""Every public transform passes the common tests of `_menu`."""

from __future__ import annotations

import importlib
import pkgutil

from monai.transforms import InvertibleTransform, MapTransform, Randomizable, Transform

import medseg.transforms
import tests.transforms
from tests.transforms._menu import InvertibleMenu, RandomMenu, TransformMenu

# Their own files test them: some take the path of a file where the menu gives an array, others change the grid.
OF_PATHS = {getattr(medseg.transforms, name + d) for name in ("CheckHeader", "LoadPrompts") for d in ("", "d")}
OF_GRIDS = {
    getattr(medseg.transforms, name + d)
    for name in ("SeparableSpacing", "MaskOnSourceGrid", "ProbabilityOnSourceGrid")
    for d in ("", "d")
}


def menus() -> list[type[TransformMenu]]:
    for module in pkgutil.walk_packages(tests.transforms.__path__, "tests.transforms."):
        if module.name.rpartition(".")[2].startswith("test_"):
            importlib.import_module(module.name)
    found, waiting = [], [TransformMenu]
    while waiting:
        waiting += (menu := waiting.pop()).__subclasses__()
        found += [menu] if hasattr(menu, "case") else []
    return found


def public_transforms() -> set[type]:
    members = [getattr(medseg.transforms, name) for name in medseg.transforms.__all__]
    return {member for member in members if isinstance(member, type) and issubclass(member, Transform)}


def test_every_transform_passes_the_menu() -> None:
    covered = {type(make()) for menu in menus() for make in (menu.case.array, menu.case.dictionary)}
    assert {t.__name__ for t in public_transforms() - covered - OF_PATHS - OF_GRIDS} == set()


def test_every_menu_names_refusals() -> None:
    assert [menu.__name__ for menu in menus() if not menu.case.errors] == []


def test_random_and_invertible_transforms_are_on_their_menus() -> None:
    for menu in menus():
        for transform in (menu.case.array(), menu.case.dictionary()):
            assert issubclass(menu, RandomMenu) == isinstance(transform, Randomizable)
            assert issubclass(menu, InvertibleMenu) == isinstance(transform, InvertibleTransform)


def test_every_array_form_has_a_dictionary_form() -> None:
    names = {t.__name__ for t in public_transforms()}
    arrays = {t.__name__ for t in public_transforms() if not issubclass(t, MapTransform)}
    assert {name for name in arrays if f"{name}d" not in names} == set()
    assert len(names) == 2 * len(arrays)
