"""Exports passed on to the user's own collector or Tempo as they came: queued, tried again, counted; nothing here is ever waited for.

`forwarder` holds the queue, `http` and `grpc` are the ways out, `reencoding` is for what can't go as it came. Nothing is decoded here.
"""
