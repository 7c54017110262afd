"""Which tools this agent has."""

from yardmaster.sdk import Tool, tool_of


def installed_tools() -> dict[str, Tool]:
    """Return the tools by name."""
    from yardmaster.tools.folder import Folder

    return {tool.name: tool for tool in (tool_of(Folder),)}
