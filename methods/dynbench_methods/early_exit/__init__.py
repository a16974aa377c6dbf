"""Early exit: BranchyNet, Shallow-Deep Networks, MSDNet's rule, DG-Res and a learnt policy, presets of a method."""
