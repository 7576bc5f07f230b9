"""Statistics over the decisions of readers. Imports the root modules and reviews."""
