"""From a snapshot to what people and machines read: the exposition, the report, the reference. No state but the series that were shed."""
