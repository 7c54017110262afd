"""The portal's pages about agents and their pools."""
