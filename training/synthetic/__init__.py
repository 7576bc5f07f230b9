"""Synthetic fundus photographs and other pictures, without patients.

Imports nothing of training.
"""
