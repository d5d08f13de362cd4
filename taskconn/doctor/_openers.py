"""Calls that open connections, as data: which client, and whether it is one connection or a pool."""

from __future__ import annotations

__all__ = ["CLOSED_BY_WITH", "CONNECTS", "ENGINES", "FORK_HOOKS", "PARENT_HOOKS", "POOLS", "USES_OF_ENGINE"]

#: Dotted name of what opens a connection when it is called -> kind of server.
CONNECTS = {
    "pymysql.connect": "MySQL",
    "pymysql.Connect": "MySQL",
    "pymysql.Connection": "MySQL",
    "pymysql.connections.Connection": "MySQL",
    "MySQLdb.connect": "MySQL",
    "MySQLdb.Connect": "MySQL",
    "MySQLdb.Connection": "MySQL",
    "MySQLdb.connections.Connection": "MySQL",
    "mysql.connector.connect": "MySQL",
    "mysql.connector.MySQLConnection": "MySQL",
    "mariadb.connect": "MySQL",
    "psycopg.connect": "PostgreSQL",
    "psycopg.Connection.connect": "PostgreSQL",
    "psycopg2.connect": "PostgreSQL",
    "pg8000.connect": "PostgreSQL",
    "pg8000.dbapi.connect": "PostgreSQL",
    "pg8000.native.Connection": "PostgreSQL",
    "pymssql.connect": "SQL Server",
    "pyodbc.connect": "ODBC",
    "oracledb.connect": "Oracle",
    "cx_Oracle.connect": "Oracle",
    "clickhouse_driver.dbapi.connect": "ClickHouse",
    "snowflake.connector.connect": "Snowflake",
    "pika.BlockingConnection": "AMQP",
    "kafka.KafkaProducer": "Kafka",
    "kafka.KafkaConsumer": "Kafka",
    "confluent_kafka.Producer": "Kafka",
    "confluent_kafka.Consumer": "Kafka",
    "smtplib.SMTP_SSL": "SMTP",
    "socket.create_connection": "socket",
}

#: The same for what keeps several, or keeps threads beside them.
POOLS = {
    "pymongo.MongoClient": "MongoDB",
    "pymongo.mongo_client.MongoClient": "MongoDB",
    "psycopg_pool.ConnectionPool": "PostgreSQL",
    "psycopg_pool.NullConnectionPool": "PostgreSQL",
    "psycopg2.pool.SimpleConnectionPool": "PostgreSQL",
    "psycopg2.pool.ThreadedConnectionPool": "PostgreSQL",
    "mysql.connector.pooling.MySQLConnectionPool": "MySQL",
    "oracledb.create_pool": "Oracle",
    "cx_Oracle.SessionPool": "Oracle",
    "cassandra.cluster.Cluster.connect": "Cassandra",
}

#: Clients whose connection, as a context manager, is closed at the block's end. psycopg2's ends a transaction only.
CLOSED_BY_WITH = frozenset(name for name in (*CONNECTS, *POOLS) if not name.startswith("psycopg2."))

#: What makes an engine of SQLAlchemy's, and what of it opens a connection.
ENGINES = frozenset({"sqlalchemy.create_engine", "sqlalchemy.engine.create_engine", "sqlmodel.create_engine"})
USES_OF_ENGINE = frozenset({"begin", "connect", "execute", "raw_connection", "run_callable", "scalar", "table_names"})

#: Decorators of functions that run in a child right after its fork.
FORK_HOOKS = frozenset({"celery.signals.worker_process_init.connect"})

#: The same of functions that run in the worker's own process, before its children are forked.
PARENT_HOOKS = frozenset({"celery.signals.worker_init.connect", "celery.signals.celeryd_init.connect"})
