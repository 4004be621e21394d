"""The rules of projects and tasks. They are decided by the control process: one order a workspace."""
