"""From tables of labels to batches of training squares. Imports drcore, recipe and synthetic."""
