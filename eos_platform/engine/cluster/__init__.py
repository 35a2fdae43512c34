"""Ray: starting or joining it, what its nodes have, and whether they can run a study."""
