"""A program that is run is no child that could use a connection."""

import os
import subprocess

import pymysql


def main():
    """Run another program while connected."""
    conn = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])
    subprocess.run(["true"], check=True)
    subprocess.run(["true"], check=True, preexec_fn=os.getpid)
    conn.close()


if __name__ == "__main__":
    main()
