"""Settings of RQ's workers in these tests; the jobs are imported here, once for all horses."""

from __future__ import annotations

import json
import os

import tests.outcomes.jobs  # noqa: F401 -- else every horse imports every driver

REDIS_URL = os.environ["OUTCOMES_REDIS_URL"]
TASKCONN_DATABASES = json.loads(os.environ["OUTCOMES_SETTINGS"])
