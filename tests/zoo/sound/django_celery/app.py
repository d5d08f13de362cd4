"""Django's query in `ready()` under Celery, whose fixup closes it before the fork."""

import os

import django
from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_settings")

app = Celery("shop", broker=os.environ["REDIS_URL"])
app.conf.update(imports=["taskconn.celery"], task_ignore_result=True)


@app.task
def work():
    """Use it."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


assert settings
django.setup()
