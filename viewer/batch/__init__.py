"""The Batch page. Imports everything but the other pages."""
