"""Validate the environment variables: `python -m graphql_api.configuration`.

The command exits with 1 if a setting is unknown or invalid.
"""

import sys

from graphql_api.configuration.settings import Settings

try:
    Settings.from_environ()
except ValueError as error:
    sys.exit(f"error: {error}")
