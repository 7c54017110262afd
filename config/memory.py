"""Decides what Python's collector looks through: what requests make, not what was loaded."""

import gc

# Allocations between two looks at the youngest objects; Python's own 700 is less than a page makes.
YOUNG = 20_000


def keep_what_is_loaded() -> None:
    """Keep the collector off all that is there now, modules above all, and let it look less often.

    A look through everything took some 55 ms, in which the process answered nobody, and a
    fifteenth of all the tests' time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
