"""Regression Activation Maps as arrays: fusion, refinement, what regions add, overlay.

Imports the root modules only.
"""
