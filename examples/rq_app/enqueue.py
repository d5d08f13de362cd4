"""Put orders into the queue, as a web application would: ``python enqueue.py Beetle Ada Grace``."""

import sys

import jobs
import redis
import settings
from rq import Queue

if __name__ == "__main__":
    car, *customers = sys.argv[1:]
    queue = Queue("shop", connection=redis.Redis.from_url(settings.REDIS_URL))
    for customer in customers:
        queue.enqueue(jobs.order, car, customer)
    queue.enqueue(jobs.send_receipts)
    print(f"{len(customers)} orders sent")
