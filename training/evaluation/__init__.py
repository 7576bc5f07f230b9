"""Measuring a bundle. Imports data."""
