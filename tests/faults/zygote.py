"""A portal that is up again at once after it was killed: Django is loaded here, the web is a fork.

`python -m tests.faults.zygote PORT` forks a web process for each line that it reads and writes the
child's process id. The children listen, open the database and die on their own.
"""

from __future__ import annotations

import os
import signal
import sys

from a2wsgi import WSGIMiddleware
from uvicorn import Config, Server

from config.wsgi import application


def main() -> None:
    # Children that were killed are nobody's business here.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    port = int(sys.argv[1])
    while sys.stdin.readline():
        child = os.fork()
        if child == 0:
            app = WSGIMiddleware(application, workers=16)  # type: ignore[arg-type]
            config = Config(app, "127.0.0.1", port, log_level="warning", access_log=False)
            Server(config).run()
            os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    main()
