"""What stands before everything else: the short way in for agents."""
