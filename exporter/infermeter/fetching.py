"""Another server's page over HTTP, fetched within bounds; blocks, so it belongs into a thread."""
