"""Regression Activation Maps as arrays: fusion, refinement, overlay.

Imports the root modules only.
"""
