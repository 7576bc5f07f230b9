"""From one photograph to one report. Imports photographs, preprocessing, maps and model."""
