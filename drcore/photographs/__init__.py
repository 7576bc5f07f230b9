"""From the bytes of a file to an upright RGB photograph.

Imports the root modules of drcore only.
"""
