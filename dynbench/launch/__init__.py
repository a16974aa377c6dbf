"""What makes the runs of a suite: one after another, in processes of their own, on several processes, on many nodes."""
