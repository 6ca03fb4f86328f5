"""Receiving OTLP: bytes in two encodings become columns of spans (`model.Export`), over two transports that share one `Receiver`.

`protobuf` and `json` are pure decoders, `columns` what they share, `messages` the wire schema. No meaning is given to any span here.
"""
