"""Findings about whole applications: `_findings` what they are, `_output` how they look, `lint` from the source."""
