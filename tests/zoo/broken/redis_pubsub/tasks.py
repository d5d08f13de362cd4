"""A subscription made at import: two processes read one stream of messages."""

import os

import redis

client = redis.Redis.from_url(os.environ["REDIS_URL"])
news = client.pubsub()
news.subscribe("news")


def work():
    """Stand for a task."""
    return news.get_message(timeout=0.1)
