"""An engine with a NullPool keeps nothing."""

import os

from sqlalchemy import NullPool, create_engine, text

engine = create_engine(os.environ["SQLALCHEMY_URL"], poolclass=NullPool)


def prepare():
    """Make the tables."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS zoo_cars (name VARCHAR(20))"))


prepare()


def work():
    """Stand for a task."""
    with engine.connect() as connection:
        return connection.execute(text("SELECT 1")).scalar()
