"""What every process does beside its work: it gives memory back. Every package except the client may import it."""
