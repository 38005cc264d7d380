"""Options ``--allow-burned-in``, ``--pseudonym-key`` and ``--link``, and the pseudonyms of one converted series."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from data_prep._options.command_line import UsageError, output_path

if TYPE_CHECKING:
    from medseg.io.ct.series import CtSeries
    from medseg.io.privacy.pseudonym import Pseudonymiser

__all__ = ["SeriesPseudonyms", "add_privacy_options", "add_pseudonym_options", "pseudonyms_from", "read_key"]


class SeriesPseudonyms(NamedTuple):
    """What gives the series of one run their pseudonyms.

    Attributes:
        key: the names' source.
        link: file to which the way back is appended, or None.
    """

    key: Pseudonymiser
    link: Path | None

    def apply(self, series: CtSeries, facts: dict[str, Any]) -> dict[str, Any]:
        """The sidecar of a series with new UIDs and the patient's pseudonym; the way back goes to the link file.

        Args:
            series: the series.
            facts: its sidecar as `medseg.io.ct.sidecar.series_sidecar` makes it.

        Raises:
            DataError: if the series' files name no patient, or several.
        """
        from medseg.io.bounded.errors import DataError
        from medseg.io.privacy.pseudonym import append_link, patient_of

        patient, study_date = patient_of(series.files)
        if not patient:
            raise DataError(
                f"{series.files[0]}: PatientID is empty, so no pseudonym can tell this patient from others; "
                "fill it in, or convert without --pseudonym-key"
            )
        sources = sorted({uid for uids in series.source_sop_instance_uids for uid in uids if uid})
        if self.link is not None:
            uids = {self.key.uid(uid): uid for uid in (series.series_uid, *sources)}
            append_link(self.link, {"pseudonym": self.key.patient(patient), "patient_id": patient, "uids": uids})
        return {
            **facts,
            "series_instance_uid": self.key.uid(series.series_uid),
            "sop_instance_uids": [self.key.uid(uid) for uid in series.sop_instance_uids],
            "source_sop_instance_uids": [[self.key.uid(u) for u in uids] for uids in series.source_sop_instance_uids],
            "warnings": [self.key.hide_uids(line) for line in facts["warnings"]],
            "pseudonyms": {
                "patient": self.key.patient(patient),
                "study_date_shifted": self.key.date(patient, study_date),
                "method": "HMAC-SHA256 of PatientID and UIDs; a patient's dates moved back by 1 to 3650 days",
                "key_id": self.key.key_id,
            },
        }


def add_privacy_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--allow-burned-in``, ``--pseudonym-key`` and ``--link`` to a parser."""
    parser.add_argument(
        "--allow-burned-in",
        action="store_true",
        help="convert images whose header says that text is drawn in their pixels, and secondary captures chosen by "
        "--series, which are refused otherwise",
    )
    add_pseudonym_options(parser)


def add_pseudonym_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--pseudonym-key`` and ``--link`` to a parser."""
    group = parser.add_argument_group("pseudonyms (without a key, UIDs are kept and no patient is named)")
    group.add_argument(
        "--pseudonym-key",
        type=Path,
        metavar="FILE",
        help="key made by data_prep.key, outside the output: write the patient's pseudonym and new UIDs, the same for "
        "the same patient and UID in every run with this key",
    )
    group.add_argument(
        "--link",
        type=output_path,
        metavar="FILE",
        help="append which pseudonym is which patient and which UID which, outside the output: without it and without "
        "the originals nobody can go back",
    )


def read_key(args: argparse.Namespace, outputs: Sequence[Path]) -> Pseudonymiser | None:
    """The key that the options name, or None.

    Raises:
        UsageError: for ``--link`` without a key.
        DataError: if key or link lie inside an output, or the key cannot be used.
    """
    if args.pseudonym_key is None:
        if args.link is not None:
            raise UsageError("--link goes with --pseudonym-key FILE")
        return None
    from medseg.io.privacy.pseudonym import Pseudonymiser, check_outside

    if args.link is not None:
        check_outside(args.link, outputs, "the link file")
    return Pseudonymiser.from_file(args.pseudonym_key, outputs)


def pseudonyms_from(args: argparse.Namespace, outputs: Sequence[Path]) -> SeriesPseudonyms | None:
    """What the options ask for, or None; see `read_key`."""
    key = read_key(args, outputs)
    return None if key is None else SeriesPseudonyms(key, args.link)
