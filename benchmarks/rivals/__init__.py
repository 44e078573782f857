"""The exporter's job done with other tools, in an environment of their own: `benchmarks/requirements.txt`."""
