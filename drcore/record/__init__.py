"""Keeping the record for years: backup, restore, verification, erasure, export. Imports reviews."""
