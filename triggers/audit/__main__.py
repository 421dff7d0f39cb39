"""Run the audit once, as `POST /audit` does, and print its report. For schedulers that run commands.

The environment variables of the function configure the command.
"""

from triggers.audit.endpoint import AuditEndpoint
from triggers.schedules import command

if __name__ == "__main__":
    command.main(
        "python -m triggers.audit",
        __doc__,
        lambda settings: AuditEndpoint(shards=settings.shards, delay_seconds=settings.audit_delay_seconds),
    )
