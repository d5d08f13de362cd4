"""asyncio wakes its loop by a pair of sockets."""

import asyncio

loop = asyncio.new_event_loop()
loop.run_until_complete(asyncio.sleep(0))


def work():
    """Stand for a task."""
    return asyncio.run(asyncio.sleep(0, 1))
