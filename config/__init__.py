"""Settings, secrets and privacy rules: what an operator decides, as data. Imports nothing of the product."""
