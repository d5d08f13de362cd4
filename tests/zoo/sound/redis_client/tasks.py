"""A client of redis-py that was used at import: its pool begins anew in a child."""

import os

import redis

client = redis.Redis.from_url(os.environ["REDIS_URL"])
client.set("zoo:ready", 1)


def work():
    """Stand for a task."""
    return client.get("zoo:ready")
