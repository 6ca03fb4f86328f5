"""For one's own Python server: spans in the native layout, through opentelemetry-sdk. Imports nothing of the rest."""
