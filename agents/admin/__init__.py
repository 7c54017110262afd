"""The admin of agents, their pools and of what they can do."""

from . import agents, catalogue, pools

__all__ = ["agents", "catalogue", "pools"]
