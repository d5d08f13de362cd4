"""Run the program before and after, on a private MariaDB: ``python -m examples.multiprocessing_app``."""

from __future__ import annotations

from examples.servers import MariaDB

from .attempt import attempt

#: Cars for each of the ten processes.
_CARS = 20

#: How often the program gets a chance to go wrong.
_TRIES = 20


def main() -> None:
    """Run `before.py` until it goes wrong, then `after.py`."""
    with MariaDB() as server:
        server.query("CREATE DATABASE cars")
        for number in range(1, _TRIES + 1):
            seen = attempt("before", server, "cars", _CARS)
            print(f"before, try {number}: {seen}")
            if seen.went_wrong(_CARS):
                for line in _errors(seen.output):
                    print(f"    {line}")
                break
        print(f"after: {attempt('after', server, 'cars', _CARS)}")


def _errors(output: str) -> list[str]:
    """List the different error lines of *output*."""
    return sorted({line for line in output.splitlines() if "Error" in line and not line.startswith(" ")})


if __name__ == "__main__":
    main()
