"""The application's configuration."""

from django.apps import AppConfig
from django.db import connection


class CarsConfig(AppConfig):
    """Look for the database as Django starts."""

    name = "cars"

    def ready(self):
        """Fail early if it is not there."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
