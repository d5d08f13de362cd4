"""What the examples need of their machine."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    collect_ignore_glob = ["test_*"]  # they fork, and start servers that have no Windows build
