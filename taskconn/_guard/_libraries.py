"""What is known of other people's libraries, as data: which kind of server they speak to, who minds forks."""

from __future__ import annotations

__all__ = ["CLIENTS", "CLIENTS_IN_C", "FRAMEWORKS", "INFRASTRUCTURE", "PATHS", "PORTS", "kind_by_address"]

#: Package, or module of the standard library -> the kind of server that it is a client of. "" asks the address.
CLIENTS = {
    "MySQLdb": "MySQL",
    "_mysql_connector": "MySQL",
    "aiomysql": "MySQL",
    "asyncmy": "MySQL",
    "mysql": "MySQL",
    "pymysql": "MySQL",
    "aiopg": "PostgreSQL",
    "asyncpg": "PostgreSQL",
    "pg8000": "PostgreSQL",
    "psycopg": "PostgreSQL",
    "psycopg2": "PostgreSQL",
    "psycopg_binary": "PostgreSQL",
    "psycopg_c": "PostgreSQL",
    "psycopg_pool": "PostgreSQL",
    "pymssql": "SQL Server",
    "pytds": "SQL Server",
    "oracledb": "Oracle",
    "clickhouse_driver": "ClickHouse",
    "cassandra": "Cassandra",
    "redis": "Redis",
    "valkey": "Redis",
    "pymemcache": "Memcached",
    "memcache": "Memcached",
    "bson": "MongoDB",
    "gridfs": "MongoDB",
    "motor": "MongoDB",
    "pymongo": "MongoDB",
    "amqp": "AMQP",
    "aio_pika": "AMQP",
    "aiormq": "AMQP",
    "pika": "AMQP",
    "pamqp": "AMQP",
    "kafka": "Kafka",
    "nats": "NATS",
    "paho": "MQTT",
    "kazoo": "ZooKeeper",
    "ldap3": "LDAP",
    "paramiko": "SSH",
    "aiohttp": "HTTP",
    "botocore": "HTTP",
    "boto3": "HTTP",
    "grpc": "gRPC",
    "h11": "HTTP",
    "h2": "HTTP",
    "httpcore": "HTTP",
    "httplib2": "HTTP",
    "httpx": "HTTP",
    "http.client": "HTTP",
    "requests": "HTTP",
    "urllib.request": "HTTP",
    "urllib3": "HTTP",
    "websocket": "WebSocket",
    "websockets": "WebSocket",
    "ftplib": "FTP",
    "imaplib": "IMAP",
    "poplib": "POP3",
    "smtplib": "SMTP",
    "telnetlib": "Telnet",
    "logging.handlers": "log",
}

#: Frameworks that open what their user has asked for: who is to change something stands behind them.
FRAMEWORKS = frozenset(
    {
        "django",
        "django_redis",
        "elasticsearch",
        "elastic_transport",
        "flask",
        "flask_sqlalchemy",
        "kombu",
        "mongoengine",
        "peewee",
        "playhouse",
        "pony",
        "s3transfer",
        "sqlalchemy",
        "sqlmodel",
        "tenacity",
        "tortoise",
    }
)

#: Packages, and modules of the standard library, that open connections for themselves and renew them after a fork.
INFRASTRUCTURE = frozenset(
    {
        "_pydevd_bundle",
        "billiard",
        "celery",
        "concurrent.futures",
        "debugpy",
        "gunicorn",
        "multiprocessing",
        "pydevd",
        "rq",
        "rq_scheduler",
        "taskconn",
        "uvicorn",
    }
)

#: Modules in C that open sockets without an audit event: only a trace tells who has called them.
CLIENTS_IN_C = frozenset(
    {
        "MySQLdb._mysql",
        "_mysql_connector",
        "confluent_kafka.cimpl",
        "grpc._cython.cygrpc",
        "ibm_db",
        "oracledb.thick_impl",
        "psycopg.pq",
        "psycopg2._psycopg",
        "pylibmc",
        "pymssql._mssql",
        "pyodbc",
        "pyrdkafka",
    }
)

#: Port -> kind of server, where nothing else tells it.
PORTS = {
    25: "SMTP",
    80: "HTTP",
    389: "LDAP",
    443: "HTTP",
    587: "SMTP",
    636: "LDAP",
    1433: "SQL Server",
    1521: "Oracle",
    2181: "ZooKeeper",
    3306: "MySQL",
    3307: "MySQL",
    4222: "NATS",
    5432: "PostgreSQL",
    5433: "PostgreSQL",
    5671: "AMQP",
    5672: "AMQP",
    6379: "Redis",
    6380: "Redis",
    6432: "PostgreSQL",
    8080: "HTTP",
    9000: "ClickHouse",
    9042: "Cassandra",
    9092: "Kafka",
    9200: "HTTP",
    11211: "Memcached",
    27017: "MongoDB",
}

#: Word in the path of a Unix socket -> kind of server.
PATHS = {
    "mysql": "MySQL",
    "mariadb": "MySQL",
    ".s.PGSQL.": "PostgreSQL",
    "redis": "Redis",
    "valkey": "Redis",
    "memcached": "Memcached",
    "docker.sock": "HTTP",
}


def kind_by_address(peer: object) -> str:
    """Guess a kind of server from what `getpeername` says; "" if nothing is known of it."""
    if isinstance(peer, tuple):
        return PORTS.get(peer[1], "") if len(peer) > 1 else ""
    path = peer.decode(errors="replace") if isinstance(peer, bytes) else str(peer)
    return next((kind for word, kind in PATHS.items() if word in path), "")
