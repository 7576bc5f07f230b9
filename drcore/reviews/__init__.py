"""The append-only record of what readers decided. Imports the root modules only."""
