"""The Workload page: a simulation of reading that could be saved."""
