"""Import the module `tasks`, then fork once, and let the child call `tasks.work()`: what a worker does, without one."""

import os
import sys

sys.path.insert(0, "")

import tasks

child = os.fork()
if child == 0:
    try:
        tasks.work()
        print("child worked", flush=True)
    except BaseException as error:  # noqa: BLE001 -- whatever comes of sharing is the test's
        print("child failed:", type(error).__name__, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print("parent done", flush=True)
