"""Cars as SQLAlchemy maps them, and the database that has them."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.support.databases import MySQLDatabase


class Base(DeclarativeBase):
    pass


class Car(Base):
    __tablename__ = "car"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)


def url_of(database: MySQLDatabase, port: int | None = None, driver: str = "pymysql") -> str:
    """Name *database* for SQLAlchemy over one of its libraries, perhaps by the port of a proxy."""
    url = database.url.replace("mysql://", f"sqlalchemy+mysql+{driver}://")
    return url if port is None else url.replace(f":{database.server.port}/", f":{port}/")


def names(database: MySQLDatabase) -> list[str]:
    """List the cars."""
    return [name for (name,) in database.query("SELECT name FROM car ORDER BY name")]
