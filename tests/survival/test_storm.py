"""Processes that lose their server together come back spread over `reconnect_spread`."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable

import pytest

from examples.servers import MariaDB
from tests.support.process import Script

#: Processes of a fleet: some on a laptop, 300 in `make chaos`.
_FLEET = 300 if os.environ.get("CHAOS") == "full" else 40

#: `reconnect_spread` of the fleet, in seconds.
_SPREAD_S = 5.0


@pytest.mark.timeout(300)
def test_fleet_comes_back_spread(script: Callable[..., Script], private_mariadb: MariaDB) -> None:
    """All come back, within the spread, and no tenth of it sees more than its share several times over."""
    private_mariadb.query("CREATE DATABASE shop")
    url = f"{private_mariadb.url('shop')}?ssl_disabled=true&reconnect_spread={_SPREAD_S:g}&connect_timeout=10"
    fleet = script([sys.executable, "-m", "tests.survival.storm"], str(_FLEET), url)
    fleet.wait_for(r"^up$", 120, count=_FLEET)

    private_mariadb.kill9()
    fleet.wait_for(r"^down$", 120, count=_FLEET)
    began = time.monotonic()
    private_mariadb.start()
    fleet.wait_for(r"^back ", 120, count=_FLEET)
    fleet.wait(60)

    back = sorted(float(text) - began for text in re.findall(r"^back ([\d.]+)$", fleet.output, re.MULTILINE))
    assert len(back) == _FLEET
    width = _SPREAD_S / 10
    fullest = max(sum(at <= other < at + width for other in back) for at in back)
    assert fullest <= _FLEET / 2, back
    assert back[-1] - back[0] >= _SPREAD_S / 3, back
