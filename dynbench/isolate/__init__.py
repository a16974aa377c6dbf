"""Other people's code in processes of its own: whatever it does there, the suite continues."""
