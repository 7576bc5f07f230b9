"""Where photographs lie: folders, archives, object stores.

Imports the root modules and photographs.
"""
