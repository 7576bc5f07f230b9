"""One training run. Imports data and recipe."""
