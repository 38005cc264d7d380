"""Keep names and header values that could identify a patient out of messages and reports.

File names and header texts of an input are treated as private unless they look like those that scanners, exports and
data sets write: a file name of common words and few digits or a UID, a header value that is a number or a term of the
standard. Private ones are replaced by a number or a length ("file 17 of 133", "a text of 12 characters"). They are
never shortened or hashed, because names can be guessed from hashes.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from medseg.io.bounded.errors import os_reason

__all__ = [
    "HiddenNames",
    "is_kernel_name",
    "is_plain_name",
    "is_uid",
    "shown",
    "shown_reason",
    "shown_term",
    "shown_uid",
]

_WORD_TEXT = """
abdomen an and aorta archive are as at axial bad be body bone brain brats by canon case cases chest consensus contrast
copy coronal crop cropped ct cta cts cut cxr data dataset dcm decathlon dicom dicomdir dir example examples export
extra fake file files fold folder folds for from ge gz has have hdr head heart hu idri im ima image images img in
index input inputs integrity is it json kidney label labels labelstr labelsts left lesion lesions lidc lits liver
localizer luna lung lungs mask masks metadata mha mhd model mr mri msd names nhdr nii nnunet no nodule nodules not
nrrd of old on one or organ original originals other out output outputs pancreas part parts patient patients pelvis
pet phantom philips pred prediction predictions public py raw read reader reading readings recon report reports
resampled result results right rt rtstruct sag sagittal sample samples scan scans scout se seg segmentation
segmentations segs series set shifted siemens slice slices sm small source spine spleen sr src st structures studies
study subset synthetic task test tests than that the this thorax three tilt to topogram toshiba totalseg
totalsegmentator train training truth tumor tumors tumour tumours two txt unknown val validation vol volume volumes
was were with xml zip zraw
"""
_WORDS = frozenset(_WORD_TEXT.split())
_TOKENS = re.compile(r"[A-Za-z]+|[0-9]+")
_PLAIN = re.compile(r"[A-Za-z0-9._ #,+()-]{1,100}")
_COUNTER = re.compile(r"(?:IMG?|SE|ST|PA|I|S|Z)[-_]?[0-9]{1,8}")  # as exports to media number their files
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_NUMBER = re.compile(r"[-+0-9.eEx \\,\[\]()']*[0-9][-+0-9.eEx \\,\[\]()']*")
_QUOTED = re.compile(r"""b?"(?:\\.|[^"\\])*(?:"|$)|b?(?<![A-Za-z0-9])'(?:\\.|[^'\\])*(?:'|$)""")
_TERM_TEXT = """
AR AU BI BMD CR CT CTPROTOCOL DG DOC DX ECG EPS ES FID GM HC HD IO IVOCT IVUS KER KO LEN LS MG MR NM OAM OCT OP OPM
OPT OPTBSV OPTENF OPV OSS OT PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN
RTSTRUCT RWV SEG SM SMR SR SRF STAIN TG US VA XA XAPROTOCOL XC MONOCHROME1 MONOCHROME2 PALETTE_COLOR RGB HSV ARGB CMYK
YBR_FULL YBR_FULL_422 YBR_PARTIAL_422 YBR_PARTIAL_420 YBR_ICT YBR_RCT XYB HU OD MGML Z_EFF ED EDW HU_MOD PCT BINARY
FRACTIONAL LABELMAP YES NO
"""
_TERMS = frozenset(_TERM_TEXT.split()) | {"PALETTE COLOR"}
# As manufacturers write kernels: B31f, Br40d, FC13, I30s, YA ... and a few words; other text could be anything.
_KERNEL = re.compile(
    r"[A-Z][A-Za-z]{0,2}[0-9]{1,3}[a-z]{0,2}|[A-Z]{1,2}|[1-5]|"
    r"BODY|BONE|BONEPLUS|CHST|DETAIL|EDGE|LUNG|SHARP|SMOOTH|SOFT|STANDARD|ULTRA",
    re.IGNORECASE,
)
_MAX_DIGITS = 5
_MAX_LETTERS = 2
_SUFFIXES = (".nii.gz", ".seg.nrrd", ".tar.gz")


def is_plain_name(name: str) -> bool:
    """True for a file or folder name that is assumed not to name a person.

    That is a name of common imaging words, at most two single letters and five digits (``IM7_3``, ``volume-12.nii``,
    ``LIDC-IDRI-0001``), a UID, or a counter as media exports write it (``SE000002``).
    """
    stem = _stem(name)
    if is_uid(stem) or _COUNTER.fullmatch(stem):
        return True
    if not _PLAIN.fullmatch(name):
        return False
    tokens = _TOKENS.findall(name)
    digits = sum(len(token) for token in tokens if token.isdigit())
    words = [token.lower() for token in tokens if not token.isdigit()]
    single = sum(len(word) == 1 for word in words)
    known = all(len(word) == 1 or word in _WORDS for word in words)
    return known and single <= _MAX_LETTERS and digits <= _MAX_DIGITS


def is_uid(text: str) -> bool:
    """True if a text has the form of a DICOM UID of at least four parts."""
    return len(text) <= 64 and text.count(".") >= 3 and _UID.fullmatch(text) is not None


def is_kernel_name(text: str) -> bool:
    """True if a text looks like a convolution kernel as manufacturers name them."""
    return _KERNEL.fullmatch(text) is not None


def shown(value: object, limit: int = 80) -> str:
    """A header value as an error may quote it: numbers as they are, of any text only its length."""
    text = repr(value)[:limit]
    if value is None or isinstance(value, (bool, int, float)) or _NUMBER.fullmatch(text) or not str(value).strip():
        return text
    return f"a text of {len(str(value))} characters (hidden)"


def shown_term(text: str) -> str:
    """A code string (modality, photometric interpretation, unit) if the standard has it, else its length."""
    return text if not text or text in _TERMS else f"(unknown, {len(text)} characters)"


def shown_uid(text: str) -> str:
    """A UID as it is, with the ``#N`` that chooses a grid; of anything else only its length."""
    uid, mark, group = text.partition("#")
    if not uid or (len(uid) <= 64 and _UID.fullmatch(uid) and (not mark or group.isdecimal())):
        return text
    return f"(not a UID, {len(uid)} characters)" + (mark + group if group.isdecimal() else "")


def shown_reason(error: BaseException, value: object = None) -> str:
    """First line of a library's error without the values that it quotes; of a system's error the reason alone.

    Args:
        error: what the library raised.
        value: the raw value that it was about, hidden even where it is not in quotes.
    """
    if isinstance(error, OSError) and error.errno:
        return os_reason(error)
    text = (str(error).splitlines() or [type(error).__name__])[0]
    raw = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
    for part in sorted({raw, raw.strip(" \0"), *raw.strip(" \0").split("\\")}, key=len, reverse=True):
        if part.strip() and not _NUMBER.fullmatch(part):
            text = text.replace(part, "(hidden)")
    return _QUOTED.sub(lambda found: found[0] if _NUMBER.fullmatch(found[0].strip("b\"'")) else "(hidden)", text)


class HiddenNames:
    """Hides the names in the user's paths that could identify a patient, and gives replacements.

    A folder that was given as input is replaced by its word, ``<IN>``. The files in it are counted from 1 in the sorted
    order of their paths, so that anyone who has the folder can find each file again. A file that was given by name is
    replaced by its word too, ``<MASK>``, and the files beside it are counted. A path without private parts is shown as
    it is. An output is always shown as it was typed.

    Args:
        inputs: word by which an input is called (``IN``) and its path, as the user wrote it.
        files: files of a folder that was listed before, relative to it and sorted, by word; other folders are listed
            when they are first needed, and beside an input file its neighbours.
        outputs: paths that the user named for what is written. Leave them out for texts that go into files.
    """

    def __init__(
        self,
        inputs: Mapping[str, str | Path],
        files: Mapping[str, Sequence[str]] | None = None,
        outputs: Iterable[str | Path] = (),
    ) -> None:
        self._inputs = {word: Path(path) for word, path in inputs.items()}
        self._files = dict(files or {})
        self._typed = {spelling: str(path) for path in map(Path, outputs) for spelling in _spellings(path)}

    def replace_input(self, word: str, path: str | Path) -> None:
        """Take another path for an input, such as the folder into which an archive was unpacked."""
        self._inputs[word] = Path(path)
        self.__dict__.pop("_table", None)

    def label(self, path: str | Path) -> str:
        """A file's name if it is plain, else its number among the files of its input, or the word it was given by."""
        name = Path(path).name
        return name if is_plain_name(name) else self.hide(str(path)).rpartition("/")[2]

    def hide(self, text: str) -> str:
        """A text with every private name of a file or folder replaced."""
        private = _find(text, self._table)
        typed = [span for span in _find(text, self._typed) if all(_leaves_whole(span, other) for other in private)]
        private = [span for span in private if not any(_meets(span, other) for other in typed)]
        for span in sorted([*private, *typed], reverse=True):
            text = text[: span.start] + span.word + text[span.end :]
        for word, path in self._inputs.items():
            marker, place = (f"<{word}>", path) if path.is_dir() else (f"<folder of {word}>", path.parent)
            text = re.sub(rf"{re.escape(marker)}/(?=(?:file|folder) [0-9])", "", text)
            text = text.replace(marker, str(place)) if _is_plain_path(place) else text
        return text

    def hide_in(self, value: Any) -> Any:
        """The same for every text in lists and dictionaries as JSON holds them; keys are left as they are."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {key: self.hide_in(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.hide_in(item) for item in value]
        return value

    @cached_property
    def _table(self) -> dict[str, str]:
        """What is said for every spelling of an input, and then of the files in it or beside it."""
        table: dict[str, str] = {}
        for word, path in self._inputs.items():
            _add_input(table, word, path)
        for word, path in self._inputs.items():
            if word in self._files:
                _add_names(table, self._files[word], (), "")
            else:
                where = "" if path.is_dir() else f" beside <{word}>"
                _add_names(table, _list_files(path), _list_folders(path), where)
        return table


class _Span(NamedTuple):
    """Where a text holds one of the spellings, and what is said there."""

    start: int
    end: int
    word: str


def _find(text: str, table: Mapping[str, str]) -> list[_Span]:
    """The spellings that stand by themselves in a text, not as part of a longer word; the longest at every place."""
    keys = sorted((key for key in table if key in text and key not in ("", ".", "/")), key=len, reverse=True)
    if not keys:
        return []
    pattern = rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, keys))})(?![A-Za-z0-9])"
    return [_Span(found.start(), found.end(), table[found[0]]) for found in re.finditer(pattern, text)]


def _meets(span: _Span, other: _Span) -> bool:
    return span.start < other.end and other.start < span.end


def _leaves_whole(typed: _Span, private: _Span) -> bool:
    """True if an output may stay as it was typed: no private name lies across it, or holds it as a part."""
    return not _meets(typed, private) or (typed.start <= private.start and private.end <= typed.end)


def _stem(name: str) -> str:
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and not suffix.isdigit() and len(suffix) <= 5 else name


def _spellings(path: Path) -> set[str]:
    """The ways in which a message can write a path."""
    return {str(path), str(path.resolve()), str(path.absolute())}


def _add_input(table: dict[str, str], word: str, path: Path) -> None:
    """Every way in which a text can name an input itself, and the folder of an input that is a file."""
    plain = is_plain_name(path.name)
    called = f"<{word}>"
    if plain and not path.is_dir():
        called = str(path) if _is_plain_path(path) else f"<{word}>/{path.name}"
    for spelling in _spellings(path):
        table.setdefault(spelling, called)
    if not plain:
        for name in {path.name, _stem(path.name), *_repr_of(path.name)}:
            if not is_plain_name(name):
                table.setdefault(name, f"<{word}>")
    if not path.is_dir():
        for spelling in _spellings(path.parent):
            table.setdefault(spelling, f"<folder of {word}>")


def _is_plain_path(path: Path) -> bool:
    return all(is_plain_name(part) for part in path.parts if part not in (path.anchor, "."))


def _list_files(path: Path) -> list[str]:
    """Files under a folder, or the neighbours of a file, relative and sorted by their parts."""
    found: list[Path] = []
    if path.is_dir():
        found = [Path(folder, name).relative_to(path) for folder, _, names in os.walk(path) for name in names]
    elif path.is_file():
        with contextlib.suppress(OSError):  # the reader of the file reports it
            found = [Path(entry.name) for entry in os.scandir(path.absolute().parent) if entry.is_file()]
    return [str(name) for name in sorted(found)]


def _list_folders(path: Path) -> list[str]:
    """Names of all folders under a folder, also of those that are empty or cannot be listed, sorted."""
    return sorted({name for _, folders, _ in os.walk(path) for name in folders})


def _add_names(table: dict[str, str], listed: Sequence[str], folder_names: Iterable[str], where: str) -> None:
    """Every way in which a text can name one of the files or folders, if it is not plain.

    Args:
        table: what is said for every spelling; those known already stay.
        listed: relative paths of files, sorted.
        folder_names: names of folders that may hold none of these files.
        where: added to the number of a file.
    """
    numbers: dict[str, list[int]] = {}
    folders: dict[str, None] = {}
    for number, name in enumerate(listed, 1):
        *parents, base = Path(name).parts
        private = [part for part in parents if not is_plain_name(part)]
        folders.update(dict.fromkeys(private))
        if private or not is_plain_name(base):
            numbers[name] = [number]
        if not is_plain_name(base):
            spellings = {base, _stem(base), *_repr_of(base)} - {name}
            for spelling in (text for text in spellings if not is_plain_name(text)):
                numbers.setdefault(spelling, []).append(number)
    for key, found in numbers.items():
        which = str(found[0]) if len(found) == 1 else f"{', '.join(map(str, found[:3]))}{' ...' * (len(found) > 3)}"
        table.setdefault(key, f"file {which} of {len(listed)}{where}")
    folders.update(dict.fromkeys(name for name in folder_names if not is_plain_name(name)))
    for number, part in enumerate(folders, 1):
        table.setdefault(part, f"folder {number}")


def _repr_of(name: str) -> set[str]:
    return {repr(name)[1:-1], os.fsencode(name).decode("utf-8", "replace")}
