"""An imported package of somebody else's connects as it is imported."""

import acme_metrics


def work():
    """Stand for a task."""
    acme_metrics.count("cars")
