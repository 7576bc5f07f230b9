"""The table and the map files of a batch. Imports photographs, maps, grading and sources."""
