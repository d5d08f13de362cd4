"""Settings of the application, read by its workers and its producers."""

import os

broker_url = os.environ.get("BROKER_URL", "redis://localhost/0")

# `imports`, not `include`: an `include` of Celery(...) would replace one that stands here.
imports = ["taskconn.celery"]

taskconn_databases = {
    "default": {
        "url": os.environ.get("SHOP_URL", "mysql://shop:secret@localhost/shop"),
        "max_age": 600,  # connections are replaced after ten minutes
    },
}
