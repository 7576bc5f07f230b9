"""From a photograph to the input of a network: field of view, contrast, gradability.

Imports the root modules only.
"""
