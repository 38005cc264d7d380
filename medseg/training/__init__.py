"""Handlers and helpers for training runs."""

from __future__ import annotations
