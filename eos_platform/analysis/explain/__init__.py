"""What an operator does and why: its regime, what ranks the tokens, what each parameter contributes."""
