"""The Agreement page. Imports everything but the other pages."""
