"""The demo's own parts: a small real inference server, load for it, the scenarios, and a live table of what the sidecar says.

Nothing here knows a result: the server times its own stages with a clock, its spans travel through opentelemetry-sdk over a socket,
and every number that is shown is read from the sidecar's report.
"""
