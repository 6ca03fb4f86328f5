"""The worked example of docs/concepts/cost-at-sla.md."""
