"""Settings of the application: RQ's, and how its jobs connect."""

import os

REDIS_URL = os.environ.get("BROKER_URL", "redis://localhost/0")
QUEUES = ["shop"]

TASKCONN_DATABASES = {
    "default": {
        "url": os.environ.get("SHOP_URL", "mysql://shop:secret@localhost/shop"),
        "connect_timeout": 2,
    },
}
