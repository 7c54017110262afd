"""The agent protocol's doors about runs: parse, ask, call one rule, answer."""
