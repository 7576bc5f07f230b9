"""The system of Wang & Yang 2017 as published: networks, recipe, runs and report."""
