"""The release of memory, which every process needs. Every package except the client may import this package."""
