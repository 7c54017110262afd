"""The agent: it claims runs from a portal, carries them out and reports them."""
