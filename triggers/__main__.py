"""Serve the function: `python -m triggers`.

With `--sockets`, the process accepts connections on inherited listening sockets. Other processes may share them.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

import uvicorn

from observability import tracing
from runtime.listening_sockets import bind_setting, parse_sockets
from triggers.connections import connection_class
from triggers.settings import Settings

_SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"


def main() -> None:
    """Read the settings and serve until a signal stops the process.

    After SIGTERM, the process accepts no connection, and completes the events in progress. An event that takes longer
    than `shutdown_seconds` is not acknowledged, so it is sent again.
    """
    parser = argparse.ArgumentParser(prog="python -m triggers", description=__doc__)
    parser.add_argument("--sockets", type=parse_sockets, metavar="FD,FD", help="file descriptors of listening sockets")
    arguments = parser.parse_args()
    try:
        settings = Settings.from_environ()
        sockets = arguments.sockets or bind_setting(
            settings.host, settings.function_port, "DROPZONE_HOST, DROPZONE_FUNCTION_PORT"
        )
    except ValueError as error:
        sys.exit(f"error: {error}")
    if _SHARED_METRICS in os.environ:  # prometheus_client expects that the folder exists
        Path(os.environ[_SHARED_METRICS]).mkdir(parents=True, exist_ok=True)
    # uvicorn raises the signal again after the shutdown. The first process of a container ignores this signal, and
    # would wait for the threads that compute large samples. SIGINT, as from Ctrl-C, would print a traceback.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    config = uvicorn.Config(
        "triggers.app:create_app",
        factory=True,
        http=connection_class(),
        ws="none",
        log_config=None,  # the application configures the log
        log_level="error",  # at lower levels uvicorn logs every invalid request
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    uvicorn.Server(config).run(sockets)


def _exit(*_: object) -> None:
    tracing.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
