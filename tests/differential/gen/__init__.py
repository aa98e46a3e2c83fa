"""Generators of random sequences: args (argument kinds), table (commands), builder (sequences)."""
