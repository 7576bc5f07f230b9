"""Looks shared by all pages: colours, charts, messages, assets. Imports drcore only."""
