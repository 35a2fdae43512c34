"""Opening, loading, unwrapping and placing models."""
