"""What listens and what asks: sockets, TLS, one HTTP connection, another server's page, files of secrets that rotate."""
