"""The process that the forks of tests/zygote.py come from.

`python -m tests.forking MODULE …` loads the modules and then forks a process for each line that it
reads, `module:function argument …`, which calls the function and dies on its own. It writes the
process id of each.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module

import django


def main(modules: list[str]) -> None:
    """Fork for each line; a signal to end goes to the forks too, as the harder one."""
    django.setup()
    loaded = {name: import_module(name) for name in modules}
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    # Forks that were killed are nobody's business here.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        function, *arguments = line.split()
        module, _, name = function.partition(":")
        child = os.fork()
        if child == 0:
            for one in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(one, signal.SIG_DFL)
            getattr(loaded[module], name)(*arguments)
            os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
