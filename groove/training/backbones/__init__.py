"""Networks: frames [B, T, M] -> embedding [B, D]; plain modules with plain arguments."""
