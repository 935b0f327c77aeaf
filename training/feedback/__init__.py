"""What people said of replies, as training signal for the discriminator."""
