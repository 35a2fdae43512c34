"""Which tokens stay: one module per selector."""
