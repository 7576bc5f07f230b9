"""The Export page. Imports everything but the other pages."""
