"""pymongo: a MongoClient made before the fork."""

import os

from pymongo import MongoClient

client = MongoClient(os.environ["MONGO_URL"])
client.admin.command("ping")


def work():
    """Stand for a task."""
    return client.admin.command("ping")
