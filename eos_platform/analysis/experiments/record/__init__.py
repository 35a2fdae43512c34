"""The field's tables of token reduction, made by one pinned command."""
