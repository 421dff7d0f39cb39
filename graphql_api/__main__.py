"""Serve the API: `python -m graphql_api`."""

import logging
import sys

from graphql_api.app import create_app
from graphql_api.settings import Settings
from graphql_api.transport.server import Server


def main() -> None:
    """Read the settings and serve until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stdout)
    try:
        settings = Settings.from_environ()
    except ValueError as error:
        sys.exit(f"error: {error}")
    app = create_app(settings)
    Server(app, host=settings.host, port=settings.api_port, on_shutdown=app.state.end_streams).run()


if __name__ == "__main__":
    main()
