"""A process that tries again what is due, without a pause, as many workers would."""

import time

import django

if __name__ == "__main__":
    django.setup()
    from jobs import retries

    print("up", flush=True)
    while True:
        retries.retry_due()
        time.sleep(0.005)
