"""How fast the paths that matter are, each beside its anchor in the same run."""
