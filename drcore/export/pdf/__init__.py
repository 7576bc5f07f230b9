"""The PDF report of a case. Imports export and what it imports."""
