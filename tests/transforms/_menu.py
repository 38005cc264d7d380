"""The checks that every transform passes, written once: a test file subclasses a menu and states its case."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, set_track_meta
from monai.transforms import Compose, Randomizable

import medseg

AFFINE = torch.tensor([[-2.0, 0, 0, 10], [0, 0, -5, 20], [0, 3, 0, 30], [0, 0, 0, 1]], dtype=torch.float64)


def as_metatensor(array: np.ndarray) -> MetaTensor:
    return MetaTensor(torch.from_numpy(array.copy()), affine=AFFINE, meta={"filename_or_obj": "case.nii.gz"})


CONTAINERS: dict[str, Callable[[np.ndarray], Any]] = {
    "numpy": np.copy,
    "torch": lambda array: torch.from_numpy(array.copy()),
    "metatensor": as_metatensor,
}


def reversed_twice(array: np.ndarray) -> np.ndarray:
    """The same values with negative strides along every axis, also those of length 1."""
    everywhere = (slice(None, None, -1),) * array.ndim
    return array[everywhere].copy()[everywhere]


def every_second(array: np.ndarray) -> np.ndarray:
    """The same values with gaps between them."""
    wide = np.repeat(array, 2, axis=-1)
    return wide[..., ::2]


def read_only(array: np.ndarray) -> np.ndarray:
    kept = array.copy()
    kept.flags.writeable = False
    return kept


# The same values in another layout of memory.
LAYOUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "negative strides": reversed_twice,
    "gaps": every_second,
    "Fortran order": np.asfortranarray,
    "read-only": read_only,
    "transposed tensor": lambda array: torch.from_numpy(array.T.copy()).permute(*reversed(range(array.ndim))),
}
# Values that the type can hold.
TYPES: dict[str, Callable[[np.ndarray], Any]] = {
    "float16": lambda array: array.astype(np.float16),
    "float64": lambda array: array.astype(np.float64),
    "bfloat16": lambda array: torch.from_numpy(array.astype(np.float32)).bfloat16(),
    "half tensor": lambda array: torch.from_numpy(array.astype(np.float32)).half(),
    "int16": lambda array: np.rint(array).astype(np.int16),
    "uint16": lambda array: np.rint(np.abs(array)).astype(np.uint16),
    "int64 tensor": lambda array: torch.from_numpy(np.rint(array).astype(np.int64)),
    "bool": lambda array: array > 0,
    "longdouble": lambda array: array.astype(np.longdouble),
}
# Legal inputs at the end of what there is.
EXTREMES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "constant": np.zeros_like,
    "NaN": lambda array: np.full(array.shape, np.nan, np.float32),
    "infinite": lambda array: np.full(array.shape, np.inf, np.float32),
    "huge": lambda array: np.full(array.shape, 1e30, np.float32),
    "1 voxel": lambda array: array[(slice(None), *[slice(1)] * (array.ndim - 1))].copy(),
    "empty": lambda array: array[(slice(None), *[slice(0)] * (array.ndim - 1))].copy(),
    "no channel": lambda array: array[:0].copy(),
}


@dataclass(frozen=True)
class MenuCase:
    """What a transform is, and what it must give.

    Attributes:
        array: makes the array form.
        dictionary: makes the dictionary form, working on ``key``.
        data: the items of a sample as NumPy arrays; all of them are handed over in the container under test.
        expected: the known result, or None where the test file checks values of its own (random parameters).
        key: the item that is transformed.
        second: items that the array form takes as further arguments, always given as MetaTensors.
        output: the dictionary's item that holds the result; ``key`` unless named.
        beside: further items that the dictionary form adds.
        dtype: type of the result.
        atol: tolerance of the known result.
        containers: those that the transform takes.
        errors: calls that must be refused, with a pattern of the message.
    """

    array: Callable[[], Any]
    dictionary: Callable[[], Any]
    data: Mapping[str, np.ndarray]
    expected: np.ndarray | None
    key: str = "image"
    second: tuple[str, ...] = ()
    output: str = ""
    beside: tuple[str, ...] = ()
    dtype: torch.dtype = torch.float32
    atol: float = 1e-6
    containers: tuple[str, ...] = tuple(CONTAINERS)
    errors: tuple[tuple[Callable[[], Any], str], ...] = field(default=())

    def sample(self, container: str) -> dict[str, Any]:
        return {
            name: CONTAINERS["metatensor" if name in self.second else container](array)
            for name, array in self.data.items()
        }

    def changed(self, change: Callable[[np.ndarray], Any]) -> dict[str, Any]:
        """A sample whose item is changed; as a MetaTensor where the transform takes no other container."""
        item = change(self.data[self.key].astype(np.float32))
        if "numpy" not in self.containers:
            tensor = item if isinstance(item, torch.Tensor) else torch.from_numpy(np.array(item))
            item = MetaTensor(tensor, affine=AFFINE, meta={"filename_or_obj": "case.nii.gz"})
        return {**self.sample("metatensor"), self.key: item}

    def apply(self, transform: Any, sample: Mapping[str, Any]) -> Any:
        return transform(sample[self.key], *[sample[name] for name in self.second])

    def result_of(self, sample: Mapping[str, Any]) -> Any:
        return sample[self.output or self.key]


def seeded(transform: Any, seed: int = 7) -> Any:
    return transform.set_random_state(seed) if isinstance(transform, Randomizable) else transform


def values(result: Any) -> np.ndarray:
    if isinstance(result, torch.Tensor):
        result = result.detach().cpu()
        result = result.float() if result.dtype == torch.bfloat16 else result
    return np.asarray(result)


def assert_own_line(error: Exception) -> None:
    """An error that the package raised itself, in one line; not one of NumPy, torch or MONAI."""
    assert "\n" not in str(error)
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    assert Path(raised_in).is_relative_to(Path(medseg.__file__).parent), f"{raised_in}: {error}"


def parametrise_menu(metafunc: pytest.Metafunc) -> None:
    """Run a menu's tests for every container and every refused call of its case."""
    case = getattr(metafunc.cls, "case", None)
    if case is not None and "container" in metafunc.fixturenames:
        metafunc.parametrize("container", case.containers)
    for name, table in (("layout", LAYOUTS), ("kind", TYPES), ("extreme", EXTREMES)):
        if case is not None and name in metafunc.fixturenames:
            metafunc.parametrize(name, table)
    if case is not None and "refused" in metafunc.fixturenames:
        metafunc.parametrize("refused", case.errors, ids=[pattern[:40] for _, pattern in case.errors])


class TransformMenu:
    """The menu; a subclass named ``Test...`` states its ``case``."""

    case: MenuCase

    def test_known_value_and_type(self, container: str) -> None:
        result = self.case.apply(seeded(self.case.array()), self.case.sample(container))
        assert result.dtype == self.case.dtype
        assert isinstance(result, torch.Tensor)
        if self.case.expected is not None:
            assert tuple(result.shape) == self.case.expected.shape
            np.testing.assert_allclose(values(result), self.case.expected, atol=self.case.atol, rtol=1e-6)

    def test_every_container_gives_the_same(self, container: str) -> None:
        first = self.case.apply(seeded(self.case.array()), self.case.sample(self.case.containers[0]))
        result = self.case.apply(seeded(self.case.array()), self.case.sample(container))
        np.testing.assert_array_equal(values(result), values(first))

    def test_metatensors_keep_their_affine_and_file_name(self) -> None:
        result = self.case.apply(seeded(self.case.array()), self.case.sample("metatensor"))
        assert isinstance(result, MetaTensor)
        torch.testing.assert_close(result.affine, AFFINE)
        assert result.meta["filename_or_obj"] == "case.nii.gz"

    def test_without_tracking_plain_tensors_come_out_of_arrays(self) -> None:
        for container in set(self.case.containers) - {"metatensor"}:
            sample = self.case.sample(container)
            set_track_meta(False)
            try:
                result = self.case.apply(seeded(self.case.array()), sample)
            finally:
                set_track_meta(True)
            assert isinstance(result, torch.Tensor)
            assert not isinstance(result, MetaTensor)

    def test_the_input_is_left_alone(self, container: str) -> None:
        for form in (self.case.array, self.case.dictionary):
            sample = self.case.sample(container)
            kept = dict(sample)
            transform = seeded(form())
            transform(sample) if form is self.case.dictionary else self.case.apply(transform, sample)
            assert sample.keys() == kept.keys()
            for name, array in self.case.data.items():
                assert sample[name] is kept[name]
                np.testing.assert_array_equal(values(sample[name]), array)
                if container == "metatensor":
                    torch.testing.assert_close(sample[name].affine, AFFINE)
                    assert not sample[name].applied_operations

    def test_the_dictionary_form_equals_the_array_form(self, container: str) -> None:
        sample = {**self.case.sample(container), "other": object()}
        expected = self.case.apply(seeded(self.case.array()), sample)
        result = seeded(self.case.dictionary())(sample)
        np.testing.assert_array_equal(values(self.case.result_of(result)), values(expected))
        assert type(self.case.result_of(result)) is type(expected)
        written = self.case.output or self.case.key
        assert {name for name in result if result[name] is not sample.get(name)} <= {written, *self.case.beside}

    def test_a_missing_key_raises_unless_allowed(self) -> None:
        sample = self.case.sample("metatensor")
        del sample[self.case.key]
        transform = self.case.dictionary()
        with pytest.raises(KeyError):
            transform(sample)
        transform.allow_missing_keys = True
        assert transform(sample).keys() == sample.keys()

    def test_a_copy_works_as_the_original(self) -> None:
        sample = self.case.sample("metatensor")
        transform = seeded(self.case.array())
        copied = copy.deepcopy(transform)
        np.testing.assert_array_equal(
            values(self.case.apply(copied, sample)), values(self.case.apply(transform, sample))
        )

    def test_the_layout_in_memory_changes_nothing(self, layout: str) -> None:
        if "numpy" not in self.case.containers:
            pytest.skip("takes MetaTensors only, which have one layout")
        expected = self.case.apply(seeded(self.case.array()), self.case.changed(np.copy))
        found = self.case.apply(seeded(self.case.array()), self.case.changed(LAYOUTS[layout]))
        np.testing.assert_array_equal(values(found), values(expected))

    def test_other_types_give_the_result_of_float32_or_one_line(self, kind: str) -> None:
        if kind == "longdouble" and "numpy" not in self.case.containers:
            pytest.skip("takes MetaTensors only, which do not have this type")
        sample = self.case.changed(TYPES[kind])
        single = {
            **sample,
            self.case.key: self.case.changed(lambda a: values(TYPES[kind](a)).astype(np.float32))[self.case.key],
        }
        try:
            found = self.case.apply(seeded(self.case.array()), sample)
        except ValueError as error:
            assert_own_line(error)
            return
        expected = values(self.case.apply(seeded(self.case.array()), single))
        accuracy = torch.finfo(found.dtype).eps if found.dtype.is_floating_point else 0
        np.testing.assert_allclose(
            values(found).astype(np.float64), expected, rtol=4 * accuracy + 1e-6, atol=4 * accuracy + 1e-6
        )

    def test_extreme_input_gives_a_result_or_one_line(self, extreme: str) -> None:
        transform, sample = seeded(self.case.array()), self.case.changed(EXTREMES[extreme])
        for name in self.case.second:
            if self.case.data[name].shape[1:] == self.case.data[self.case.key].shape[1:] and extreme in (
                "1 voxel",
                "empty",
            ):
                sample[name] = as_metatensor(EXTREMES[extreme](self.case.data[name]))
        try:
            found = self.case.apply(transform, sample)
        except ValueError as error:
            assert_own_line(error)
        else:
            assert isinstance(found, torch.Tensor)

    def test_bad_input_is_one_line(self, refused: tuple[Callable[[], Any], str]) -> None:
        call, pattern = refused
        with pytest.raises(ValueError, match=pattern) as caught:
            call()
        assert "\n" not in str(caught.value)


class RandomMenu(TransformMenu):
    """The menu of random transforms."""

    def test_equal_seeds_give_equal_results_and_others_do_not(self) -> None:
        sample = self.case.sample("numpy")

        def run(make: Callable[[], Any], seed: int) -> np.ndarray:
            np.random.seed(seed + 1)
            transform = make().set_random_state(seed)
            return np.stack([values(self._call(transform, sample)) for _ in range(6)])

        for make in (self.case.array, self.case.dictionary, lambda: Compose([self.case.dictionary()])):
            np.testing.assert_array_equal(run(make, 3), run(make, 3))
            assert not np.array_equal(run(make, 3), run(make, 4))
        np.testing.assert_array_equal(run(self.case.array, 3), run(self.case.dictionary, 3))

    def test_drawing_comes_before_applying(self) -> None:
        sample, transform = self.case.sample("numpy"), seeded(self.case.array())
        drawn = [values(self.case.apply(transform, sample)) for _ in range(6)]
        assert any(not np.array_equal(drawn[0], other) for other in drawn[1:])
        again = [values(transform(sample[self.case.key], randomize=False)) for _ in range(3)]
        for other in again:
            np.testing.assert_array_equal(other, drawn[-1])

    def _call(self, transform: Any, sample: Mapping[str, Any]) -> Any:
        is_array = isinstance(transform, type(self.case.array()))
        return self.case.apply(transform, sample) if is_array else self.case.result_of(transform(sample))


class InvertibleMenu(TransformMenu):
    """The menu of transforms that promise an inverse."""

    def test_the_inverse_gives_the_input_back(self) -> None:
        sample = self.case.sample("metatensor")
        transform = self.case.array()
        result = self.case.apply(transform, sample)
        assert len(result.applied_operations) == 1
        back = transform.inverse(result)
        np.testing.assert_allclose(values(back), self.case.data[self.case.key], atol=1e-4)
        assert not back.applied_operations
        dictionary = self.case.dictionary()
        back = dictionary.inverse(dictionary(sample))[self.case.key]
        np.testing.assert_allclose(values(back), self.case.data[self.case.key], atol=1e-4)
