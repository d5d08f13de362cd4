"""Put orders into the queue, as a web application would: ``python send_orders.py Beetle Ada Grace``."""

import sys

from tasks import order

if __name__ == "__main__":
    car, *customers = sys.argv[1:]
    for customer in customers:
        order.delay(car, customer)
    print(f"{len(customers)} orders sent")
