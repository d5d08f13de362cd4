"""What multiprocessing itself opens: a manager, queues, pipes."""

import multiprocessing

context = multiprocessing.get_context("fork")


def work(shared, queue):
    """Stand for a task."""
    shared["car"] = "Mini"
    queue.put("done")


if __name__ == "__main__":
    with context.Manager() as manager:
        shared = manager.dict()
        shared["car"] = "Beetle"
        queue = context.Queue()
        process = context.Process(target=work, args=(shared, queue))
        process.start()
        queue.get(timeout=30)
        process.join()
