"""The forms of the portal's pages about people and credentials, and the choice of a site."""
