"""The control agent: decides commands (workspaces, keys, streams, workflows), one order a workspace."""
