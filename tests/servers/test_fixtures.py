from __future__ import annotations

from examples.servers import MySQLServer, RedisServer
from tests.support.databases import MySQLDatabase, RedisDatabase, empty_redis_database, fresh_mysql_database


def test_mysql_database_is_dropped_though_it_is_in_use(mariadb: MySQLServer) -> None:
    """A test that leaves a transaction open cannot block the end of its database."""
    with fresh_mysql_database(mariadb) as database:
        database.query("CREATE TABLE car (name TEXT)")
        left_open = database.connect()
        with left_open.cursor() as cursor:
            cursor.execute("INSERT INTO car VALUES ('2CV')")

    assert (database.name,) not in mariadb.query("SHOW DATABASES")
    assert mariadb.sessions(database.name) == []
    left_open._force_close()


def test_mysql_database_is_reached_by_its_url(mysql_database: MySQLDatabase) -> None:
    """Each test has a database of its own, named by its URL."""
    mysql_database.query("CREATE TABLE car (name TEXT)")

    assert mysql_database.url.endswith("/" + mysql_database.name)
    assert mysql_database.query("SELECT DATABASE(), %s", "x") == [(mysql_database.name, "x")]


def test_redis_database_is_empty_for_each_test(redis_db: RedisDatabase, redis_server: RedisServer) -> None:
    """What one test leaves in Redis is not there for the next."""
    with empty_redis_database(redis_server, redis_db.number) as database:
        database.query("SET", "seen", 1)

    assert redis_db.query("DBSIZE") == 0
    assert redis_db.url == redis_server.url(redis_db.number)
