"""A process that plans without a pause, as many beats with many workers would."""

import time

import django

if __name__ == "__main__":
    django.setup()
    from jobs import planner

    print("up", flush=True)
    while True:
        planner.plan()
        time.sleep(0.005)
