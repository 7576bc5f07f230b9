"""The image beside its heat map, in the browser. Imports ui, worklist and session."""
