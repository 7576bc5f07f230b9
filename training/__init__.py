"""Training, measuring and exporting the networks, and making phantoms. Imports drcore."""
