"""Experiments whose truth is known exactly: the SeqGAN oracle, and StepGAN's Counting task."""
