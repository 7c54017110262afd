"""The portal's pages about jobs and runs."""
