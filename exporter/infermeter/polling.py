"""A thread that asks something outside every interval, so that nothing else ever waits for it."""
