"""The published system of Wang & Yang 2017, reproduced.

Imports data, optimisation and evaluation.
"""
