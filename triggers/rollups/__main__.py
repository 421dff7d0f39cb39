"""Build the rollups and move expired results into the hourly archive, once, as `POST /rollups` does.

The command prints the report of the run. It is for schedulers that run commands. The environment variables of the
function configure it.
"""

from triggers.rollups.endpoint import RollupsEndpoint
from triggers.schedules import command

if __name__ == "__main__":
    command.main("python -m triggers.rollups", __doc__, lambda settings: RollupsEndpoint(shards=settings.shards))
