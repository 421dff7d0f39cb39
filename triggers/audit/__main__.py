"""`python -m triggers.audit`: runs the audit once and prints its report. It is for schedulers that run commands."""

from triggers.audit.endpoint import AuditEndpoint
from triggers.schedules import command

if __name__ == "__main__":
    command.main(lambda settings: AuditEndpoint(shards=settings.shards, delay_seconds=settings.audit_delay_seconds))
