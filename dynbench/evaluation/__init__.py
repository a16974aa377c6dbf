"""What a trained model does: accuracy and MACs per image, audited against what was executed."""
