"""SQLAlchemy's engine keeps what was used at import in its pool."""

import os

from sqlalchemy import create_engine, text

engine = create_engine(os.environ["SQLALCHEMY_URL"])
with engine.connect() as connection:
    connection.execute(text("CREATE TABLE IF NOT EXISTS zoo_cars (name VARCHAR(20))"))


def work():
    """Stand for a task."""
    with engine.connect() as connection:
        return connection.execute(text("SELECT 1")).scalar()
