"""What runs will cost, and whether that is allowed."""
