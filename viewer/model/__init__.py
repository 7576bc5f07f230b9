"""The Model page. Imports everything but the other pages."""
