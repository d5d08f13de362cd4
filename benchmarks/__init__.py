"""
What taskconn costs, beside what users would pick instead; `make bench` runs it, RESULTS.md says what came out.

A table is a file in ``tables/``: contenders, and how to measure one round of each. ``harness.py`` takes their turns.
"""
