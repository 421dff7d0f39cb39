"""What happens after a write: the functions Eventarc calls, and what they need."""
