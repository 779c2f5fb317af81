"""Own data: a folder with a manifest, labels in common formats, and their units declared beside it."""
