"""A site over time: has anything changed, and how much reading could be saved."""
