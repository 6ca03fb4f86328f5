"""The server's own /metrics, read in a thread: what it counted since the last reading."""
