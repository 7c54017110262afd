"""The forms of saved jobs: what they do, and when they start."""
