"""A service whose spans go to the sidecar: the decorator's `tracing` is what has to be in your own."""

import bentoml


@bentoml.service(
    tracing={
        "exporter_type": "otlp",
        "sample_rate": 1.0,
        "otlp": {"protocol": "http", "endpoint": "http://127.0.0.1:4318/v1/traces"},
    }
)
class Words:
    """Counts words."""

    @bentoml.api
    def count(self, text: str) -> int:
        """How many there are."""
        return len(text.split())
