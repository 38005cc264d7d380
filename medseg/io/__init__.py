"""Readers and writers. Import the module you need, e.g. ``medseg.io.volumes.nifti``; nothing heavy is loaded here."""

from __future__ import annotations
