"""The Review page. Imports everything but the other pages."""
