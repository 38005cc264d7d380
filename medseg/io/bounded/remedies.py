"""Remedies that a message names, fitted to the command that prints it.

Readers name options as ``data_prep.convert`` has them. A command that has an option under another name says that name,
and one that lacks it says which command has it: no message ever names an option that the user cannot give.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

__all__ = ["OWNERS", "fit_remedies"]

_SERIES_OPTIONS = (
    *("--on-tilt", "--on-gap", "--on-variable", "--on-duplicate", "--max-gap", "--part"),
    *("--series", "--allow-burned-in", "--assume-rescale"),
)
_IMAGE_OPTIONS = ("--assume-space", "--ignore-pixdim-sign", "--spacing-from")

OWNERS = {
    **dict.fromkeys(_SERIES_OPTIONS, "data_prep.convert"),
    **dict.fromkeys(_IMAGE_OPTIONS, "data_prep.dataset"),
}
"""The command that has an option which readers of DICOM series and image files name, for commands that lack it."""

_OPTION = re.compile(r"(?<![\w.-])(?:data_prep\.\w+ )?--[a-z][a-z0-9-]*")


def fit_remedies(text: str, options: Collection[str], renamed: Mapping[str, str] | None = None) -> str:
    """A message in which every option that readers name can be given.

    Args:
        text: one line for people.
        options: options of the command that prints it.
        renamed: how the command writes an option, with its value, that readers write otherwise.

    Example:
        >>> from medseg.io.bounded.remedies import fit_remedies
        >>> fit_remedies("straighten the slices with --on-tilt shear", options=["--out"])
        'straighten the slices with data_prep.convert --on-tilt shear'
        >>> fit_remedies("choose one with --series UID", ["--series"], {"--series UID": "--series-uid UID"})
        'choose one with --series-uid UID'
    """

    def fitted(found: re.Match[str]) -> str:
        option = found[0]
        return option if option in options or option not in OWNERS else f"{OWNERS[option]} {option}"

    for theirs, ours in (renamed or {}).items():
        text = text.replace(theirs, ours)
    return _OPTION.sub(fitted, text)
