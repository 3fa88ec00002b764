"""What runs tell: responses, laws of knobs and of loss, divergence, what was tried."""
