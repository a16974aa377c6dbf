"""Suite files: what they may say (`schema`), how they are read (`read`), where their errors are (`locate`)."""
