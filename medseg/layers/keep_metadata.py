"""MONAI's metadata around layers and networks: they compute with plain tensors, and the result has the metadata."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from monai.data import MetaTensor
from torch import Tensor, nn

__all__ = ["keep_metadata"]

Module = TypeVar("Module", bound=nn.Module)
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Method = Callable[Concatenate[Module, Tensor, Parameters], Result]


def keep_metadata(method: Method[Module, Parameters, Result]) -> Method[Module, Parameters, Result]:
    """Decorates ``forward(self, x, ...)`` of a layer or network, so that it takes MetaTensors, also whole batches.

    Operations on a MetaTensor copy its metadata every time, and some fail on a batch. So the method gets plain tensors
    in place of all MetaTensors among its arguments. If x is a MetaTensor, so are the floating tensors of the result
    that have its number of samples, alone or in a list or tuple, with its metadata. The affine is that of x, also where
    the result has another resolution.

    Args:
        method: with a map or image ``[B, C, *S]`` as first argument.

    Example:
        >>> from monai.data import MetaTensor
        >>> class Double(torch.nn.Module):
        ...     @keep_metadata
        ...     def forward(self, x):
        ...         assert not isinstance(x, MetaTensor)
        ...         return 2 * x
        >>> Double()(MetaTensor(torch.ones(1, 1, 4, 4), meta={"patient": "a"})).meta["patient"]
        'a'
    """

    @functools.wraps(method)
    def plain(self: Module, x: Tensor, *arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
        if not any(isinstance(value, MetaTensor) for value in (x, *arguments, *options.values())):
            return method(self, x, *arguments, **options)
        others = [_plain(value) for value in arguments]
        result = method(self, _plain(x), *others, **{key: _plain(value) for key, value in options.items()})
        return _like(x, result) if isinstance(x, MetaTensor) else result

    return plain


def _plain(value: Any) -> Any:
    return value.as_tensor() if isinstance(value, MetaTensor) else value


def _like(x: MetaTensor, result: Any) -> Any:
    if type(result) in (list, tuple):  # not a named tuple, which is no map
        return type(result)(_like(x, one) for one in result)
    if isinstance(result, Tensor) and result.is_floating_point() and result.shape[:1] == x.shape[:1]:
        return MetaTensor(result).copy_meta_from(x)
    return result
