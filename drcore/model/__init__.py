"""Networks, weights and calibration. Imports the root modules, preprocessing and maps."""
