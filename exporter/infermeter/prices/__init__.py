"""What an hour of a GPU costs, where the configuration doesn't say it itself: a list of device prices, or OpenCost.

`listing` and `in_force` are pure; `opencost` asks a Prometheus, and blocks.
"""
