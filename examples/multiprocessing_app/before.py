"""Ten processes insert cars, each car in a transaction of its own, over the connection that their module has made."""

import multiprocessing
import os
import sys
from urllib.parse import urlsplit

import pymysql

import taskconn

server = urlsplit(os.environ["TASKCONN_URL"])
where = {"host": server.hostname, "port": server.port or 3306, "database": server.path[1:]}

conn = pymysql.connect(**where, user=server.username, password=server.password)


def insert_cars(first: int, cars: int) -> None:
    """Insert *cars* cars, one transaction each."""
    say(f"process {os.getpid()} uses session {conn.thread_id()}")
    for number in range(first, first + cars):
        with conn.cursor() as cursor:
            cursor.execute("INSERT INTO car (name) VALUES (%s)", (f"car {number}",))
        conn.commit()


def say(line: str) -> None:
    """Print a line as a whole, though ten processes do."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def main(cars: int) -> int:
    """Let ten processes insert *cars* cars each; return how many of them failed."""
    say(f"PyMySQL {pymysql.__version__}, taskconn {taskconn.__version__}, ten processes, {where}")
    say(f"parent {os.getpid()} uses session {conn.thread_id()}")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=insert_cars, args=(index * cars, cars)) for index in range(10)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return sum(process.exitcode != 0 for process in processes)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
