"""Operators in a server's engine: what it can serve exactly (``plan.py``), with which arguments (``arguments.py``),
and the plug-in that does it in vLLM (``vllm/``)."""
