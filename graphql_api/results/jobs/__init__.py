"""Jobs: work that continues after its request has ended, and stores its progress in a record."""
