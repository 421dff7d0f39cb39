"""What all scheduled work shares: pauses for events, and commands for schedulers that do not send requests."""
