"""Do the documented commands work on real CT? Fits one liver and one nodule, and measures how the result transfers.

``python -m benchmarks.real_data [--demo DIR] [--out DIR] [--threads N] [--json FILE] [--quick]``

Needs the public cases under ``MEDSEG_DATA`` and the result of ``medseg demo`` (its weights and phantoms). Every step is
a command that the README prints; nothing is trained on more than one real case, so the fits are overfit checks.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from medseg.geometry import apply_affine, flip_lps_ras
from medseg.io.bounded.atomic import write_json
from medseg.io.volumes.nifti import read_nifti
from medseg.metrics import dice_score

LIVER_BUNDLE, NODULE_BUNDLE = "bundles/lits_liver_segmentation", "bundles/lidc_nodule_segmentation"
LUNA16_ROW_LPS_MM = (56.208, 86.343, -115.868)
LIVER_LABEL = 5
PHANTOMS_KEPT = 4


def run(module: str, *arguments: Any) -> str:
    """Run ``python -m module arguments``, show the command, and return what it printed on standard output."""
    words = [str(a) for a in arguments]
    print("$ python -m " + shlex.join([module, *words]), flush=True)
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"failed with status {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def bundle(name: str, config: str, *arguments: Any) -> None:
    """Run one workflow of a bundle; for ``evaluate``, evaluate.json is applied on top of inference.json."""
    files = f"{name}/configs/{config}.json"
    if config == "evaluate":
        files = f"['{name}/configs/inference.json','{files}']"
    run("monai.bundle", "run", "--config_file", files, "--bundle_root", name, *arguments)


def evaluated_dice(output_dir: Path) -> float:
    """Mean Dice that a bundle's evaluation wrote."""
    return float((output_dir / "metrics.csv").read_text().split(",")[1])


def liver(data: Path, demo: Path, out: Path, epochs: int) -> dict[str, Any]:
    """Fit the liver of the real abdomen and infer on the real DICOM series."""
    abdomen = data / "abdomen_totalseg"
    run("data_prep.dataset", "--pair", abdomen / "example_ct.nii.gz", abdomen / "example_seg_fast_force_split.nii.gz",
        "--map", f"{LIVER_LABEL}=1", "--names", "1=liver", "--out", out / "abdomen")  # fmt: skip
    case = [out / "abdomen" / part / "example_ct.nii.gz" for part in ("images", "labels")]
    listed = json.loads((demo / "train" / "dataset.json").read_text())["training"][:PHANTOMS_KEPT]
    kept = [word for e in listed for word in ("--pair", demo / "train" / e["image"], demo / "train" / e["label"])]
    run("data_prep.dataset", "--pair", *case, *kept, "--validation-pair", *case, "--names", "1=liver", "2=tumour",
        "--out", out / "liver")  # fmt: skip
    started = time.monotonic()
    bundle(LIVER_BUNDLE, "train", "--dataset_dir", out / "liver", "--initial_weights", demo / "model.pt", "--weights",
           out / "liver.pt", "--output_dir", out / "liver_training", "--epochs", epochs, "--val_interval", 10,
           "--learning_rate", 0.002, "--cache_rate", 1.0)  # fmt: skip
    minutes = (time.monotonic() - started) / 60
    result: dict[str, Any] = {"fit_minutes": minutes}
    for name, weights in (("fitted", out / "liver.pt"), ("phantom_weights", demo / "model.pt")):
        bundle(LIVER_BUNDLE, "evaluate", "--dataset_dir", out / "liver", "--weights", weights, "--output_dir",
               out / f"liver_{name}", "--progress", False)  # fmt: skip
        result[f"{name}_dice"] = evaluated_dice(out / f"liver_{name}")
    run("data_prep.convert", abdomen / "example_ct_dicom", out / "dicom_ct.nii.gz")
    for name, weights in (("fitted", out / "liver.pt"), ("phantom_weights", demo / "model.pt")):
        bundle(LIVER_BUNDLE, "inference", "--input_files", f"['{out / 'dicom_ct.nii.gz'}']", "--weights", weights,
               "--output_dir", out, "--output_name", f"dicom_{name}", "--progress", False)  # fmt: skip
        scores = flipped_scores(out / f"dicom_{name}.nii.gz", abdomen / "example_seg_dicom.nii.gz")
        result[f"dicom_{name}_dice"], result[f"dicom_{name}_flipped"] = (
            scores[""],
            {k: v for k, v in scores.items() if k},
        )
    return result


def flipped_scores(mask: Path, labels: Path) -> dict[str, float]:
    """Dice of a mask, and of its seven copies flipped along array axes, with a label map of the same scan.

    Both are brought to the closest RAS axes by their affines first.
    """
    import nibabel as nib

    prediction, reference = (nib.as_closest_canonical(nib.load(p)) for p in (mask, labels))
    if not np.allclose(prediction.affine, reference.affine, atol=1e-3):
        sys.exit(f"{mask} and {labels} are not on the same grid")
    array, truth = np.asarray(prediction.dataobj) > 0, np.asarray(reference.dataobj) == LIVER_LABEL
    axes = [combination for count in range(4) for combination in itertools.combinations(range(3), count)]
    return {"".join("ijk"[a] for a in c): dice_score(np.flip(array, c) if c else array, truth) for c in axes}


def nodule(data: Path, out: Path, epochs: int) -> dict[str, Any]:
    """Convert LIDC-IDRI-0001 under both border conventions, fit its nodule and infer on all slices."""
    result: dict[str, Any] = {}
    for border in ("include", "exclude"):
        folder = out / f"lidc_{border}"
        text = run("data_prep.lidc", "--dicom", data / "lidc" / "LIDC-IDRI-0001", "--allow-partial", "--border", border,
                   "--out", folder)  # fmt: skip
        print(text)
        found = json.loads((folder / "nodules.json").read_text())[0]
        distance = float(np.linalg.norm(np.subtract(found["centre_lps_mm"], LUNA16_ROW_LPS_MM)))
        result[border] = {"voxels": [r["voxels"] for r in found["readers"]], "centre_to_luna16_mm": distance}
    started = time.monotonic()
    bundle(NODULE_BUNDLE, "train", "--dataset_dir", folder, "--weights", out / "nodule.pt", "--output_dir",
           out / "nodule_training", "--epochs", epochs, "--val_interval", 80, "--cache_rate", 1.0)  # fmt: skip
    result["fit_minutes"] = (time.monotonic() - started) / 60
    bundle(NODULE_BUNDLE, "inference", "--input_files", f"['{folder / 'ct.nii.gz'}']", "--weights", out / "nodule.pt",
           "--output_dir", out, "--output_name", "nodule", "--progress", False)  # fmt: skip
    volume = read_nifti(out / "nodule.nii.gz")
    result["mask_shape"] = list(volume.array.shape)
    result["dice"] = dice_score(volume.array, read_nifti(folder / "consensus.nii.gz").array)
    result.update(component_near(volume.array, volume.affine_ras, LUNA16_ROW_LPS_MM))
    return result


def component_near(mask: np.ndarray, affine_ras: np.ndarray, point_lps_mm: Sequence[float]) -> dict[str, Any]:
    """The 26-connected component nearest to a point: distance of its centroid in mm, voxels; number of components."""
    labels, count = ndimage.label(mask > 0, structure=np.ones((3, 3, 3)))
    if count == 0:
        return {"components": 0, "centroid_to_luna16_mm": None, "component_voxels": 0}
    centres = np.array(ndimage.center_of_mass(mask > 0, labels, range(1, count + 1)))
    distances = np.linalg.norm(apply_affine(affine_ras, centres) - flip_lps_ras(point_lps_mm), axis=1)
    nearest = int(distances.argmin())
    return {
        "components": count,
        "centroid_to_luna16_mm": float(distances[nearest]),
        "component_voxels": int(np.count_nonzero(labels == nearest + 1)),
    }


def rows(liver_result: dict[str, Any], nodule_result: dict[str, Any]) -> list[tuple[str, str, str, bool | None]]:
    """The table: what, measured value, bar, and whether it is met."""
    flips = liver_result["dicom_fitted_flipped"]
    worst = max(flips, key=lambda key: flips[key])
    dice, distance = liver_result["dicom_fitted_dice"], nodule_result["centroid_to_luna16_mm"]
    return [
        ("liver, fitted CT (overfit check), Dice", f"{liver_result['fitted_dice']:.3f}", ">= 0.95",
         liver_result["fitted_dice"] >= 0.95),
        ("liver, minutes to fit", f"{liver_result['fit_minutes']:.1f}", "aim 5", None),
        ("liver, unseen DICOM series, Dice", f"{dice:.3f}", f"> {flips[worst]:.3f} (best flip, {worst})",
         dice > flips[worst]),
        ("liver, phantom weights alone: CT / DICOM, Dice",
         f"{liver_result['phantom_weights_dice']:.3f} / {liver_result['dicom_phantom_weights_dice']:.3f}",
         "none", None),
        *[(f"LIDC, outline {b}d: voxels of the four readers; centre to LUNA16 row",
           f"{' / '.join(map(str, nodule_result[b]['voxels']))}; {nodule_result[b]['centre_to_luna16_mm']:.2f} mm",
           "none", None) for b in ("exclude", "include")],
        ("nodule, fitted CT (overfit check), Dice with consensus", f"{nodule_result['dice']:.3f}", ">= 0.80",
         nodule_result["dice"] >= 0.80),
        ("nodule, minutes to fit", f"{nodule_result['fit_minutes']:.1f}", "none", None),
        ("nodule, component centroid to LUNA16 row, mm", f"{distance:.2f}" if distance is not None else "no component",
         "<= 2", distance is not None and distance <= 2),
        ("nodule, components in the mask", str(nodule_result["components"]), "none", None),
    ]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study; exit status 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_data", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--demo", type=Path, default=Path("demo_output"), help="result of `medseg demo`")
    parser.add_argument("--out", type=Path, default=Path("real_output"), help="new folder for everything made")
    parser.add_argument("--threads", type=int, help="torch threads of every step")
    parser.add_argument("--json", type=Path, help="file for the measured values")
    parser.add_argument("--quick", action="store_true", help="two epochs a fit: only shows that the commands work")
    args = parser.parse_args(argv)
    if not os.environ.get("MEDSEG_DATA"):
        parser.error("MEDSEG_DATA is not set; it names the folder of the public cases")
    if not (args.demo / "model.pt").is_file():
        parser.error(f"{args.demo}/model.pt does not exist; run `medseg demo -o {args.demo}` first")
    if args.out.exists():
        parser.error(f"{args.out} exists; remove it or name a new folder")
    if args.threads:
        os.environ["OMP_NUM_THREADS"] = str(args.threads)
    data, out = Path(os.environ["MEDSEG_DATA"]), args.out.resolve()
    out.mkdir(parents=True)
    liver_result = liver(data, args.demo.resolve(), out, 2 if args.quick else 60)
    nodule_result = nodule(data, out, 2 if args.quick else 320)
    table = rows(liver_result, nodule_result)
    print(f"\n{'what':74s} {'measured':38s} {'bar':26s}")
    for what, measured, bar, passed in table:
        print(f"{what:74s} {measured:38s} {bar:26s} {'' if passed is None else 'met' if passed else 'MISSED'}")
    if args.json:
        write_json(args.json, {"liver": liver_result, "nodule": nodule_result})
    return int(not args.quick and any(passed is False for *_, passed in table))


if __name__ == "__main__":
    sys.exit(main())
