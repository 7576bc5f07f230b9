"""Grading many photographs, from the command line or in a cluster.

Imports everything but reviews, agreement and export.
"""
