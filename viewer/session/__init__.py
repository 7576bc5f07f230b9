"""What belongs to one browser session. Imports ui, server and worklist."""
