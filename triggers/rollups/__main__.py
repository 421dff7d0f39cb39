"""Update the rollups once, as `POST /rollups` does, and print the report. For schedulers that run commands.

The environment variables of the function configure the command.
"""

from triggers.rollups.endpoint import RollupsEndpoint
from triggers.schedules import command

if __name__ == "__main__":
    command.main("python -m triggers.rollups", __doc__, lambda settings: RollupsEndpoint(shards=settings.shards))
