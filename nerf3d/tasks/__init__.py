"""The stories. Each is readable on a page or two and knows nothing of the others."""
