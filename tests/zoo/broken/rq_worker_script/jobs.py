"""Jobs of the script."""


def work():
    """Do nothing."""
