"""Worker classes of users, made of ours."""

from __future__ import annotations

import taskconn.rq


class HastyHerokuWorker(taskconn.rq.HerokuWorker):
    imminent_shutdown_delay = 0
