"""The statements of the demo: its two tables, and what a worker inserts. MariaDB itself notes by which session."""

from __future__ import annotations

TABLES = (
    "CREATE TABLE car (id {key}, system VARCHAR(20), number INTEGER, pid INTEGER, session BIGINT)",
    "CREATE TABLE parent (system VARCHAR(20), pid INTEGER, session BIGINT)",
)

#: Scheme of the database's URL -> what its tables have as a key.
KEY = {"mysql": "INTEGER AUTO_INCREMENT PRIMARY KEY", "sqlite": "INTEGER PRIMARY KEY"}

#: Scheme of the database's URL -> statement with the system, the task's number and the pid.
INSERT_CAR = {
    "mysql": "INSERT INTO car (system, number, pid, session) VALUES (%s, %s, %s, CONNECTION_ID())",
    "sqlite": "INSERT INTO car (system, number, pid, session) VALUES (?, ?, ?, NULL)",
}

#: Scheme of the database's URL -> statement with the system and the pid.
INSERT_PARENT = {
    "mysql": "INSERT INTO parent (system, pid, session) VALUES (%s, %s, CONNECTION_ID())",
    "sqlite": "INSERT INTO parent (system, pid, session) VALUES (?, ?, NULL)",
}
