"""What this program is called and which version of it is installed."""

__version__ = "0.1.0"
