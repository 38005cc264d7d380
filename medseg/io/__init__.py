"""Readers and writers. Import the module you need, e.g. ``medseg.io.nifti``; nothing heavy is loaded here."""

from __future__ import annotations
