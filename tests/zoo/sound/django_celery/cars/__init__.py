"""An application of Django's."""
