"""Metrics of a command, for those who ask for them in `telemetry`: an endpoint, a file, or an OTLP collector.

`table` says what there is, `publish` hands it out. Labels have few values: no principal is ever one.
"""
