"""An engine made at import opens nothing."""

import os

from sqlalchemy import create_engine, text

engine = create_engine(os.environ["SQLALCHEMY_URL"])


def work():
    """Stand for a task."""
    with engine.connect() as connection:
        return connection.execute(text("SELECT 1")).scalar()
