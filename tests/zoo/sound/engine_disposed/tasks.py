"""An engine that was used at import, and emptied again before the fork."""

import os

from sqlalchemy import create_engine, text

engine = create_engine(os.environ["SQLALCHEMY_URL"])


def prepare():
    """Make the tables."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS zoo_cars (name VARCHAR(20))"))
    engine.dispose()


prepare()


def work():
    """Stand for a task."""
    with engine.connect() as connection:
        return connection.execute(text("SELECT 1")).scalar()
