"""What one step does: losses, gradients, precision, rates."""
