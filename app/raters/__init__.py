"""Those who judge: invitations, sessions, consent and erasure. The only place with identity."""
