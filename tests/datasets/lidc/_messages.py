"""Hand-written LIDC XML messages for tests."""

from __future__ import annotations

from collections.abc import Sequence

Points = Sequence[tuple[int, int]]

SCORES = {
    "subtlety": 5,
    "internalStructure": 1,
    "calcification": 6,
    "sphericity": 3,
    "margin": 3,
    "lobulation": 2,
    "spiculation": 4,
    "texture": 5,
    "malignancy": 4,
}


def square(x: int, y: int, half: int) -> list[tuple[int, int]]:
    """Every pixel of a square outline around (x, y), closed."""
    span = range(-half, half)
    sides = [(x + t, y - half) for t in span] + [(x + half, y + t) for t in span]
    sides += [(x - t, y + half) for t in span] + [(x - half, y - t) for t in span]
    return [*sides, sides[0]]


def roi(z: float, points: Points, inclusion: str = "TRUE") -> str:
    edges = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in points)
    return f"<roi><imageZposition>{z} </imageZposition><inclusion>{inclusion}</inclusion>{edges}</roi>"


def nodule(name: str, *rois: str, scores: dict[str, int] | None = SCORES) -> str:
    rated = "" if scores is None else "".join(f"<{key}>{value}</{key}>" for key, value in scores.items())
    block = "" if scores is None else f"<characteristics>{rated}</characteristics>"
    return f"<unblindedReadNodule><noduleID>{name}</noduleID>{block}{''.join(rois)}</unblindedReadNodule>"


def non_nodule(name: str, z: float, x: int, y: int) -> str:
    return (
        f"<nonNodule><nonNoduleID>{name}</nonNoduleID><imageZposition>{z}</imageZposition>"
        f"<locus><xCoord>{x}</xCoord><yCoord>{y}</yCoord></locus></nonNodule>"
    )


def message(series_uid: str, *sessions: str, root: str = "LidcReadMessage", before: str = "") -> str:
    body = "".join(f"<readingSession>{session}</readingSession>" for session in sessions)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{before}<{root} xmlns="http://www.nih.gov"><ResponseHeader>'
        f"<SeriesInstanceUid>{series_uid}</SeriesInstanceUid></ResponseHeader>{body}</{root}>"
    )
