"""Searches at true size: what a search takes, how it fits the memory there is, and several processes for one."""
