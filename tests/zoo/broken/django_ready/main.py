"""Django: a query in `AppConfig.ready()`, and children that RQ or multiprocessing fork."""

import multiprocessing
import os

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["cars.apps.CarsConfig"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["POSTGRES_DATABASE"],
            "HOST": os.environ["POSTGRES_HOST"],
            "PORT": os.environ["POSTGRES_PORT"],
            "USER": os.environ["POSTGRES_USER"],
            "PASSWORD": os.environ["POSTGRES_PASSWORD"],
            "CONN_MAX_AGE": None,
        }
    },
)


def work(_):
    """Stand for a task."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone()


if __name__ == "__main__":
    django.setup()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.map(work, [1])
