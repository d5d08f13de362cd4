"""
The demo: three task systems put cars into a database, one child of each is killed, and the database is the proof.

``python -m examples.demo`` (or ``make demo``) is run by the developer; `celery_part`, `rq_part` and `pool_part` are the
programs that it starts, and `task` is what all of their children do.
"""
