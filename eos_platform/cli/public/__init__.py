"""Commands that ask public benchmarks."""
