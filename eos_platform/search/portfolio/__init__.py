"""Which structure to search in: found by trying several starts, and held against every design in the end."""
