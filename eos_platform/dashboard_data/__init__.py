"""What the dashboard and the report show, read through ``tracking`` and worked out by ``analysis``: plain frames."""
