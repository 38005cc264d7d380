"""Identity of the DICOM objects that medseg writes: UIDs, time, equipment."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from medseg.io.bounded.errors import DataError

__all__ = ["EQUIPMENT", "ObjectIdentity", "uid_of"]

EQUIPMENT = {"Manufacturer": "medseg", "ManufacturerModelName": "medseg", "DeviceSerialNumber": "0"}
"""Manufacturer, model and serial number. DICOM demands a serial number; a program has none, so it is 0."""


def uid_of(*keys: object) -> str:
    """A valid UID under the root ``2.25.`` (a UUID as an integer) that depends only on the keys."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '/'.join(str(key) for key in keys)).int}"


@dataclass(frozen=True)
class ObjectIdentity:
    """UIDs, time and series text of a new object.

    Attributes:
        uid_seed: None makes new random UIDs. With a text, the UIDs depend only on it and the contents: the same mask
            written twice gives the same object. Set ``written_at`` too, or two objects of one UID differ in time.
        uid_prefix: root of random UIDs, ending in a dot, e.g. an organisation's; None uses ``2.25.`` (a UUID).
        written_at: creation time in the object; None means now.
        series_description: SeriesDescription, at most 64 characters.
        series_number: SeriesNumber.
    """

    uid_seed: str | None = None
    uid_prefix: str | None = None
    written_at: datetime | None = None
    series_description: str = "medseg segmentation"
    series_number: int = 900
    _created: datetime = field(default_factory=datetime.now, repr=False)

    def __post_init__(self) -> None:
        if self.uid_seed is not None and self.uid_prefix is not None:
            raise DataError("uid_seed and uid_prefix exclude each other: seeded UIDs have the root 2.25.")
        if not 0 < len(self.series_description) <= 64 or not 1 <= self.series_number <= 2**31 - 1:
            raise DataError("expected a series description of 1 to 64 characters and a positive series number")

    @property
    def date(self) -> str:
        """Creation date as DICOM writes it."""
        return (self.written_at or self._created).strftime("%Y%m%d")

    @property
    def time(self) -> str:
        """Creation time as DICOM writes it."""
        return (self.written_at or self._created).strftime("%H%M%S")

    def uid(self, role: str, contents: Iterable[object]) -> str:
        """A UID for a part of the object.

        Args:
            role: what the UID identifies: "series", "instance" ...
            contents: what a seeded UID depends on besides seed and role.
        """
        if self.uid_seed is not None:
            return uid_of(self.uid_seed, role, *contents)
        from pydicom.uid import generate_uid

        # Without a prefix pydicom makes 2.25. and a random UUID.
        return str(generate_uid(prefix=self.uid_prefix))

    def software_version(self) -> str:
        """The version of medseg."""
        import medseg

        return medseg.__version__

    def fields(self) -> dict[str, Any]:
        """Series and equipment attributes shared by all kinds of objects."""
        return {
            **EQUIPMENT,
            "SoftwareVersions": self.software_version(),
            "SeriesDescription": self.series_description,
            "SeriesNumber": self.series_number,
            "InstanceNumber": 1,
            "InstanceCreationDate": self.date,
            "InstanceCreationTime": self.time,
            "SeriesDate": self.date,
            "SeriesTime": self.time,
        }
