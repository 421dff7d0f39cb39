"""Parts of all scheduled work: pauses for events, and commands for schedulers that do not send requests."""
