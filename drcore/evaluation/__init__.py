"""A model judged and calibrated on labelled photographs. Imports all but export."""
