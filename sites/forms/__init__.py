"""The portal's forms about people, credentials and pauses, and the choice of a site."""
