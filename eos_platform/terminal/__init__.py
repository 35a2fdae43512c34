"""What people see in a terminal: tables and progress displays."""
