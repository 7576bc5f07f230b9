"""Training the finest scale, 1,024 px.

Imports data, optimisation and evaluation.
"""
