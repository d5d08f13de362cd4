"""Jobs as manuals show them."""

from __future__ import annotations


def add(one, two):
    """Add."""
    return one + two


def fail():
    """Fail."""
    raise ValueError("as a stock job may")


def note(*_):
    """Be a callback."""
