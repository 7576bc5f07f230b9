"""What exists once a server: model, background jobs, limits, settings. Imports ui and drcore."""
