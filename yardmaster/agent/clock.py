"""Which clock the agent measures leases and deadlines with."""

import time


def now() -> float:
    """Return seconds on a clock that nobody can set.

    Where the system has one, it is the clock that goes on while the machine is suspended: a
    laptop that wakes up after an hour must find its leases lost.
    """
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)
