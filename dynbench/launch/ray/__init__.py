"""Many runs at once, on the cores of one machine or on the nodes of a Ray cluster."""
