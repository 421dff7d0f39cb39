"""`python -m triggers.rollups`: does the same as `POST /rollups`, and prints the report.

It is for schedulers that run commands.
"""

from triggers.rollups.endpoint import RollupsEndpoint
from triggers.schedules import command

if __name__ == "__main__":
    command.main(lambda settings: RollupsEndpoint(shards=settings.shards))
